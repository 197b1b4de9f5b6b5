#!/usr/bin/env bash
# The main job, end to end: a CA with its key in a token, one certificate from a JWT, its renewal over
# mTLS, one refusal. Leaves nothing running; what it made lies in .build/demo.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
sealwright=${SEALWRIGHT:-$root/target/debug/sealwright}
demo=$root/.build/demo
home=$demo/home
mkdir -p "$demo"

step() { printf '\n\033[1m== %s\033[0m\n' "$*"; }

# A home of a release in which no ceremony made the key: its key would not sign, and nothing in it is worth keeping.
if [[ -e $home/sealwright.toml && ! -d $home/ceremony ]]; then
  echo "demo: the home of an earlier release is made anew"
  rm -rf "$home"
fi

step "start a signer: the CA key is made in a SoftHSM token, and stays there"
"$sealwright" dev --home "$home" --listen 127.0.0.1:0 --http 127.0.0.1:0 >"$demo/ready" 2>"$demo/log" &
signer=$!
finish() {
  kill -TERM "$signer" 2>/dev/null || true
  wait "$signer" 2>/dev/null || true
}
trap finish EXIT
for _ in $(seq 600); do
  [[ -s $demo/ready ]] && break
  kill -0 "$signer" 2>/dev/null || { cat "$demo/log" >&2; echo "demo: the signer did not start" >&2; exit 1; }
  sleep 0.1
done
ready=$(cat "$demo/ready")
[[ -n $ready ]] || { cat "$demo/log" >&2; echo "demo: the signer is not ready within a minute" >&2; exit 1; }
echo "$ready"
field() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p" <<<"$2"; }
grpc=$(field grpc "$ready")
bundle=$(field trust_bundle "$ready")

step "the CA key was made by a rehearsed key ceremony; its transcript is verified with public data"
roster=$(sed -n 's/^rosters = \["\(sha256:[0-9a-f]*\)"\]$/\1/p' "$home/sealwright.toml")
"$sealwright" ceremony verify "$home/ceremony" --roster "$roster"

step "issue: a CSR and a Kubernetes-shaped token, over TLS, on Istio's protocol"
(umask 077; "$sealwright" dev token --home "$home" --namespace default --service-account web >"$demo/token")
"$sealwright" issue --server "$grpc" --ca-file "$bundle" --token-file "$demo/token" --out "$demo/web" --output json | tee "$demo/issued.json"
serial=$(field serial "$(tr -d ' \n' <"$demo/issued.json")")

step "the chain: $demo/web"
openssl crl2pkcs7 -nocrl -certfile "$demo/web/cert-chain.pem" | openssl pkcs7 -print_certs -noout
openssl x509 -in "$demo/web/cert-chain.pem" -noout -ext subjectAltName,keyUsage,extendedKeyUsage -dates
openssl verify -x509_strict -CAfile "$demo/web/root-cert.pem" -untrusted "$demo/web/cert-chain.pem" "$demo/web/cert-chain.pem"

step "the decision record, written before the key signed: $home/gate/ledger.db"
"$sealwright" log show --home "$home" "$serial"

step "renew: the certificate just issued is the credential now"
"$sealwright" issue --server "$grpc" --ca-file "$bundle" --cert "$demo/web/cert-chain.pem" --key "$demo/web/key.pem" --out "$demo/web"

step "a refusal, with its reason: the policy does not let kube-system have certificates"
(umask 077; "$sealwright" dev token --home "$home" --namespace kube-system --service-account default >"$demo/token")
if "$sealwright" issue --server "$grpc" --ca-file "$bundle" --token-file "$demo/token" --out "$demo/refused"; then
  echo "demo: this should have been refused" >&2
  exit 1
fi
rm -f "$demo/token"

step "the ledger: every decision, chained; verified without server or token"
finish
trap - EXIT
"$sealwright" log list --home "$home" --limit 5
"$sealwright" log verify --home "$home"
