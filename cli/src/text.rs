//! Help that is longer than a line.

pub(crate) const MAIN: &str = "\
Examples:
  sealwright dev --home ./home                         a signer with a SoftHSM token, ready in seconds
  sealwright dev token --home ./home --namespace default --service-account web > token
  sealwright issue --server 127.0.0.1:15012 --ca-file home/roots.pem --token-file token --out ./web
  sealwright log list --home ./home
  sealwright check --config /etc/sealwright/sealwright.toml
  sealwright serve --config /etc/sealwright/sealwright.toml

Exit codes:
  0 ok   2 usage or configuration   3 authentication   4 denied   5 unavailable or timed out
  6 invalid input   7 state (home held, wrong PIN)   8 records contradicted by a replay
  9 a replay could not compare everything   10 to 13 of `ceremony` alone (its help)   70 internal";

pub(crate) const DEV: &str = "\
The first start makes the home: a token with a root and an issuing key, their certificates, the
baseline policy, and an issuer of service-account tokens. Later starts keep all of it.
When signing works, one line of JSON is printed to standard output:
  {\"grpc\":\"HOST:PORT\",\"http\":\"http://HOST:PORT\",\"trust_bundle\":\"/abs/path\",\"home\":\"/abs/path\"}

Examples:
  sealwright dev --home ./home
  sealwright dev --home ./home --listen 127.0.0.1:15012 --algorithm p384";

pub(crate) const TOKEN: &str = "\
Examples:
  sealwright dev token --home ./home --namespace default --service-account web
  sealwright dev token --home ./home --namespace default --service-account web --ttl=-1h   (expired)";

pub(crate) const ISSUE: &str = "\
Writes key.pem (mode 0600), cert-chain.pem (the leaf, then the intermediates) and root-cert.pem
into OUT, as one set: on any failure OUT is as it was.

Examples:
  sealwright issue --server localhost:15012 --ca-file roots.pem --token-file token --out ./web
  sealwright issue --server localhost:15012 --ca-file web/root-cert.pem \\
      --cert web/cert-chain.pem --key web/key.pem --out ./web";

pub(crate) const SERVE: &str = "\
Settings are layered: the file, then variables SEALWRIGHT__SECTION__KEY, then flags.
SIGHUP reads chains, bundles, policies and key sets again; SIGTERM and SIGINT drain and end.

Example:
  SEALWRIGHT__LOG__LEVEL=debug sealwright serve --config /etc/sealwright/sealwright.toml";

pub(crate) const LOG: &str = "\
Examples:
  sealwright log list --home ./home --since 24h
  sealwright log list --config sealwright.toml --identity spiffe://cluster.local/ns/default/sa/web
  sealwright log show --home ./home 5f2c9d…
  sealwright log verify --home ./home
  sealwright log export --home ./home --out log.jsonl && sealwright log verify --export log.jsonl
  sealwright log prune --home ./home --before 2026-10-01T00:00:00Z --export log.jsonl --dry-run";

pub(crate) const GATE: &str = "\
The gate alone listens on the named socket of its configuration (gate.socket), for the users that
gate.peers lists. `serve` and `dev` start their own.

Examples:
  sealwright gate --config /etc/sealwright/gate.toml
  sealwright gate reset-pin --config /etc/sealwright/gate.toml";

pub(crate) const CHECK: &str = "\
At most one login is made to test the PIN: none when the token reports wrong tries, when the marker of
a refused PIN is there, or while a signer runs. Exit code: 0 when a start would work.

Example:
  sealwright check --config /etc/sealwright/sealwright.toml";

pub(crate) const LIST: &str = "\
What a policy, a set or a person had a part in: with --policy, --set or --approver the ledger's file is read whole.
Of a revision's digest the list may hold more than it decided, never less, where one set has two revisions of the
same name, module and settings.

Examples:
  sealwright log list --home ./home --since 24h
  sealwright log list --home ./home --set 12
  sealwright log list --home ./home --approver anna --since 720h
  sealwright log list --home ./home --policy sha256:5bd7542507ab…
  sealwright log list --config sealwright.toml --identity spiffe://cluster.local/ns/default/sa/web";

pub(crate) const SHOW: &str = "\
Examples:
  sealwright log show --home ./home 5bd7542507ababfdc0c24c254a665f479333d7a9
  sealwright log show --home ./home '#12'";

pub(crate) const VERIFY: &str = "\
Needs neither token nor server. Exit code 6 when anything is damaged.

Examples:
  sealwright log verify --home ./home
  sealwright log verify --export log.jsonl";

pub(crate) const POLICY_VECTOR: &str = "\
Names and usages are expected as the policy left them; a lifetime only where it gave one. A vector holds the
caller's identity and the facts of its pod as they were: look at it before it goes into a repository.

Examples:
  sealwright policy vector --home ./home --serial 5bd7542507ab… --out vectors/web.json";

pub(crate) const WHO_ALLOWED: &str = "\
The approvals of the policy set are judged again, by the signatures that the ledger holds.

Examples:
  sealwright who-allowed --home ./home --serial 5bd7542507ababfdc0c24c254a665f479333d7a9
  sealwright who-allowed --config sealwright.toml --serial 5bd7542507ab… --output json | jq .allowed_by";

pub(crate) const REPLAY: &str = "\
Checks the chain and every digest of the export, judges each policy set again by the signatures of those who agreed,
runs each policy that was due again on the recorded input, builds each certificate's bytes again, and verifies each
signature up to the trust anchor. It needs no signer and no network.
Who may agree follows from the first roster: name it with --roster, or whoever wrote the ledger may have made it up.
Where the issuers' keys come from follows from the transcripts of their ceremonies: name their roster or the transcript
with --ceremony, from the paper.
Under another engine profile than the recorded one fuel is not comparable; verdict and narrowing are.

Exit codes: 0 all came out again; 6 the export is damaged; 8 a record is contradicted; 9 nothing is contradicted, and
something could not be compared (the summary says what).

Examples:
  sealwright log export --home ./home --since 24h --out today.jsonl
  sealwright policy replay --bundle today.jsonl --trust-anchor roots.pem --roster sha256:5bd7542507ab…
  sealwright policy replay --bundle today.jsonl --trust-anchor roots.pem --output json | jq .findings";

pub(crate) const EXPORT: &str = "\
Examples:
  sealwright log export --home ./home --out log.jsonl
  sealwright log export --config sealwright.toml --since 24h | gzip > today.jsonl.gz";

pub(crate) const PRUNE: &str = "\
Takes the entries about requests out of the ledger that were recorded before a time: decisions, certificates, denials,
refusals. Starts, changes of what decides, ceremonies, modules, settings and statements stay. It is done only when the
exports are sound, follow each other without a gap from the beginning of the ledger or from the last pruning, and hold
every entry that goes as the ledger has it; and when no certificate that goes is still valid. The pruning is an entry of
its own, from which the rest is verified on.

The signer must be stopped; --dry-run works beside it. A pruning that was cut short is finished by the next one.
Exit codes: 0 done, or nothing to do; 6 refused, with what is missing; 7 a signer runs.

Examples:
  sealwright log export --home ./home --until 2026-10-01T00:00:00Z --out 2026-q3.jsonl
  sealwright log prune --home ./home --before 2026-10-01T00:00:00Z --export 2026-q3.jsonl --dry-run
  sealwright log prune --home ./home --before 2026-10-01T00:00:00Z --export 2026-q1.jsonl 2026-q2.jsonl 2026-q3.jsonl
  sealwright log prune --config sealwright.toml --before 2160h --export all.jsonl --yes --output json";

pub(crate) const BENCH: &str = "\
Examples:
  sealwright bench --in-flight 64 --duration 30s
  sealwright bench --algorithm p384 --csign target/release/csign --half
  sealwright bench --stream 50 --in-flight 2       (calls of sealwright.v1.SigningService)
  sealwright bench --burst 10000                   (each with a connection and a token of its own)
  sealwright bench --server localhost:15012 --ca-file roots.pem --token-file token";

pub(crate) const POLICY: &str = "\
Examples:
  sealwright policy new one-team && cd one-team         a crate with an example, ready to build
  sealwright policy test                                build it, run its vectors in the production host
  sealwright policy build                               one-team.wasm and one-team.source.tar
  sealwright policy verify-source one-team.wasm one-team.source.tar
  sealwright policy describe one-team.wasm
  sealwright policy status --server localhost:15012 --ca-file roots.pem --cert ann.pem --key ann-key.pem";

pub(crate) const POLICY_NEW: &str = "\
Writes the folder NAME: an example policy, the SDK and the WIT world out of this program, settings, vectors.

Example:
  sealwright policy new one-team";

pub(crate) const POLICY_BUILD: &str = "\
Needs rustup's target wasm32-unknown-unknown or, on Debian and Ubuntu, the packages rustc-web, cargo-web,
rust-web-src and lld. The same source, Cargo.lock and compiler give the same bytes in any folder.
Left out of the source: what starts with a dot, target/, and *.wasm and *.source.tar beside Cargo.toml.

Examples:
  sealwright policy build
  sealwright policy build policies/one-team --build-dir /var/tmp/policies";

pub(crate) const POLICY_TEST: &str = "\
A folder is built first; its vectors are in vectors/, its settings in settings.toml or settings.json.
Exit code 6 when a verdict is not the expected one.

A vector says what it cares about, and the rest is an ordinary request of a pod:
  [input]
  identity = \"spiffe://cluster.local/ns/team-a/sa/web\"
  [expect.allow]
  lifetime_seconds = 3600

Examples:
  sealwright policy test
  sealwright policy test --watch
  sealwright policy test one-team.wasm --vectors vectors --settings settings.toml --output json";

pub(crate) const POLICY_VERIFY: &str = "\
Builds the source again, with its Cargo.lock, and compares byte for byte. Needs the compiler that the module
was built with; another one is said. Exit code 6 when the bytes differ. Building runs the source's build
scripts and macros: do it where you would run its author's programs.

Example:
  sealwright policy verify-source one-team.wasm one-team.source.tar";

pub(crate) const CEREMONY: &str = "\
The steps of a ceremony, on one machine or on several that exchange files:
  sealwright ceremony new-key, new-roster, new-plan               files to begin with
  sealwright ceremony plan lint plan.toml
  sealwright ceremony plan digest plan.toml                       read aloud, in words
  sealwright ceremony approve --plan plan.toml --roster roster.toml --role operator --sign-with anna.pem --out anna.txt
  sealwright ceremony run --plan plan.toml --roster roster.toml --approval anna.txt --approval bert.txt --out ./root-1
  sealwright ceremony sign ./root-1 --sign-with anna.pem
  sealwright ceremony report ./root-1 --pdf root-1.pdf            to read, or --html
  sealwright ceremony bundle --out bundle.tar --add plan.toml     for a machine without a network

Exit codes:
  0 done, holds, explained   2 arguments   6 a file that cannot be used   70 internal
  4 not enough people agreed, or other words were typed   5 a token, a program or a disk failed
  7 refused, by a precondition, a PIN or a plan that has run   8 a check failed: what was made may not be used;
    or a transcript does not hold
  With 4, 5 and 7 this start changed no token, but for a PIN that was refused in the middle (7). Else:
  10 `run` stopped in the middle: --resume goes on   11 `compare` found differences that no plan declares
  12 `inventory` found objects that nothing explains   13 the ceremony was given up (`run --declare`, `verify`)

docs/ceremony.md is the script for the people in the room.";

pub(crate) const CEREMONY_SCRIPT: &str = "\
Examples:
  sealwright ceremony script --plan plan.toml --roster roster.toml > script.md
  sealwright ceremony script --plan plan.toml --roster roster.toml --pdf script.pdf";

pub(crate) const CEREMONY_REPORT: &str = "\
The same transcript is the same bytes, on every machine and day. Only a transcript that verifies is shown.

Examples:
  sealwright ceremony report ./root-1 --html root-1.html
  sealwright ceremony report ./root-1 --pdf root-1.pdf";

pub(crate) const NEW_ROSTER: &str = "\
Example:
  sealwright ceremony new-roster --threshold 2 --operator anna=anna.pem.pub --operator bert=bert.pem.pub \
    --witness carl=carl.pem.pub --out roster.toml";

pub(crate) const NEW_PLAN: &str = "\
Nothing of it holds until people agree to it.

Example:
  sealwright ceremony new-plan --organization Example --roster roster.toml \
    --module /usr/lib/softhsm/libsofthsm2.so --rehearsal --out plan.toml";

pub(crate) const CEREMONY_RUN: &str = "\
What was done is written down before it is done. A ceremony that was cut off goes on with the same command
and --resume: keys that were made are found again, and the same bytes are signed.
PINs come from a prompt without echo, a file or a descriptor; never from the command line. Where the plan says
so, they are typed at the token's own pad, and waited for (--people-deadline).

Examples:
  sealwright ceremony run --plan plan.toml --roster roster.toml --approval anna.txt --approval bert.txt --out ./root-1
  sealwright ceremony run … --pin root=file:/run/pin --so-pin root=fd:3 --sign-with anna.pem
  sealwright ceremony run … --resume";

pub(crate) const NEW_KEY: &str = "\
`sealwright policy keygen` and `sealwright ceremony new-key` are the same. What is printed as the key is what
--sign-with takes. A key on a token signs statements and nothing else, and never leaves the token.
A PIN comes from a prompt without echo, a file or a descriptor; never from the command line.

Examples:
  sealwright policy keygen --out ann.key
  sealwright policy keygen --out bob.key --kind p256
  sealwright policy keygen --on 'pkcs11:token=ann' --out ann --pkcs11-module /usr/lib/softhsm/libsofthsm2.so
  sealwright policy keygen --on 'pkcs11:token=ann;object=approvals' --kind p384 --pin ann=file:/run/pin";

pub(crate) const POLICY_ROSTER: &str = "\
The first roster is named in the configuration, once. A later one takes effect with the set that names it.

Examples:
  sealwright policy roster --threshold 2 --author dan=dan.key.pub \\
    --approver ann=ann.key.pub --approver bob=bob.key.pub --approver eve=eve.key.pub --out roster.txt";

pub(crate) const POLICY_PUSH: &str = "\
Examples:
  sealwright policy push my-policy.wasm --name baseline --settings settings.json --trust-domain cluster.local \\
    --sign-with dan.key --server localhost:15012 --ca-file roots.pem --cert dan.pem --key dan-key.pem";

pub(crate) const POLICY_PROPOSE: &str = "\
Examples (the signer and the caller's certificate left out):
  sealwright policy propose --enforce sha256:… --report sha256:…=sha256:…
  sealwright policy propose --canary sha256:…=5 --shadow sha256:…
  sealwright policy propose --canary sha256:…=5 --stop-after 200 --stop-denied 5 --stop-aborted 1
  sealwright policy propose --retire sha256:…
  sealwright policy propose --enforce sha256:… --report sha256:…=sha256:… --with-rollback=2d";

pub(crate) const POLICY_APPROVE: &str = "\
What is signed is what is shown: the words are made on this machine, from the bytes that are signed. Every module
that the set brings in is judged here once more, in a process of its own; where its report is not the one that
the set names, nothing is signed.

Examples (the signer and the caller's certificate left out):
  sealwright policy approve --sign-with ann.key
  sealwright policy approve --sign-with 'pkcs11:token=ann;object=statement' --pkcs11-module /usr/lib/softhsm/libsofthsm2.so";

pub(crate) const POLICY_ACTIVATE: &str = "\
Examples (the signer and the caller's certificate left out):
  sealwright policy activate sha256:…
  sealwright policy activate --file break-glass.txt";

pub(crate) const POLICY_ROLLBACK: &str = "\
A rollback that is made ahead is signed as a proposal (policy approve), and can be kept as a file (policy review --out).
While the set that it follows is in force, an operator activates it without further signatures.

Examples (the signer and the caller's certificate left out):
  sealwright policy rollback 3 --sign-with ann.key --sign-with bob.key
  sealwright policy rollback 3 --ahead sha256:… --valid 2d";

pub(crate) const POLICY_SHADOW: &str = "\
The caller has the role author or operator. The module is judged as in a push. What the shadow says is counted
(policy shadows) and, where it differs from what was decided, logged; it changes no decision and stands in no record.
It is kept in memory only: it ends with its time, with --stop, and when the signer's front process starts again.
To run a revision in shadow everywhere and for good, propose it (policy propose --shadow).

Examples (the signer and the caller's certificate left out):
  sealwright policy shadow sha256:…
  sealwright policy shadow sha256:… --for 8h
  sealwright policy shadow sha256:… --stop";

pub(crate) const POLICY_SHADOWS: &str = "\
Shadows of the set in force are not among them: they are in its metrics (sealwright_policy_shadows).

Examples:
  sealwright policy shadows --server localhost:15012 --ca-file roots.pem --cert ann.pem --key ann-key.pem";

pub(crate) const POLICY_EXPLAIN: &str = "\
Nothing is asked for and nothing is recorded. The caller is taken for one with a service-account token.

Examples:
  sealwright policy explain --csr web.csr --identity spiffe://cluster.local/ns/default/sa/web \\
    --module my-policy.wasm --settings settings.json
  sealwright policy explain --csr web.csr --identity spiffe://cluster.local/ns/default/sa/web \\
    --server localhost:15012 --ca-file roots.pem --cert ann.pem --key ann-key.pem
  sealwright policy explain --csr web.csr --identity spiffe://cluster.local/ns/default/sa/web --set sha256:… \\
    --on-server --server localhost:15012 --ca-file roots.pem --cert ann.pem --key ann-key.pem";

pub(crate) const POLICY_REVOKE: &str = "\
Certificates that a revoked revision would have to allow are refused until a set without it is in force.

Examples (the signer and the caller's certificate left out):
  sealwright policy revoke sha256:… --reason 'allows the wrong namespace' --sign-with ann.key --sign-with bob.key";
