//! A signer with administrators who have certificates, and people who have keys.

use std::{
    fs,
    path::{Path, PathBuf},
};

use sealwright_tests::{Home, Outcome, Signer, run};
use serde_json::{Value, json};

/// Names of callers, with the roles that their identities have.
const CALLERS: [(&str, &str); 3] = [
    ("admin", r#"["author", "approver", "operator"]"#),
    ("reader", r#"["reader"]"#),
    ("web", ""),
];
const PEOPLE: [&str; 4] = ["ann", "bob", "dan", "eve"];

pub(super) struct Deployment {
    pub(super) home: Home,
    pub(super) signer: Signer,
}

/// What a push came to.
pub(super) struct Pushed {
    pub(super) revision: String,
    report: Option<String>,
}

impl Pushed {
    /// `REVISION=DIGEST`.
    pub(super) fn report_of_revision(&self) -> String {
        format!("{}={}", self.revision, self.report.as_ref().unwrap())
    }
}

impl Deployment {
    /// A rehearsal whose administrators have their certificates.
    pub(super) async fn new() -> Self {
        Self::with("").await
    }

    /// The same with more sections of configuration.
    pub(super) async fn with(sections: &str) -> Self {
        let home = Home::new();
        home.append(sections);
        for (name, roles) in CALLERS.iter().filter(|(_, roles)| !roles.is_empty()) {
            home.append(&format!(
                "[[policy_roles]]\nidentity = \"spiffe://cluster.local/ns/ops/sa/{name}\"\nroles = {roles}\n"
            ));
        }
        let signer = home.start();
        let deployment = Self { home, signer };
        for (name, _) in CALLERS {
            deployment.certify(name);
        }
        deployment
    }

    /// The same after a stop and another start.
    pub(super) fn again(self) -> Self {
        let Self { home, signer } = self;
        assert_eq!(signer.stop(), 0);
        let signer = home.start();
        Self { home, signer }
    }

    fn certify(&self, name: &str) {
        let token = self.home.file(&format!("{name}.token"));
        fs::write(&token, self.signer.token("ops", name)).unwrap();
        let out = self.home.file(name);
        let roots = self.signer.trust_bundle();
        run([
            "issue",
            "--server",
            self.signer.grpc(),
            "--ca-file",
            roots.to_str().unwrap(),
            "--token-file",
            token.to_str().unwrap(),
            "--out",
            out.to_str().unwrap(),
        ])
        .success();
    }

    /// Puts a roster in force by which so many of ann, bob and eve must agree; dan pushes and approves.
    pub(super) fn found(&self, threshold: u32) {
        for name in PEOPLE {
            // Somebody may have a key already, on a token.
            if !self.home.file(&format!("{name}.key.pub")).exists() {
                run(["policy", "keygen", "--out", &self.key(name)]).success();
            }
        }
        let roster = self.text("roster.txt");
        let public = |name: &str| format!("{name}={}.pub", self.key(name));
        let mut arguments = vec!["policy".to_owned(), "roster".to_owned()];
        arguments.extend(["--threshold".to_owned(), threshold.to_string()]);
        arguments.extend(["--author".to_owned(), public("dan")]);
        for name in PEOPLE {
            arguments.extend(["--approver".to_owned(), public(name)]);
        }
        let in_force = self.text("before.txt");
        fs::write(&in_force, self.roster_in_force()).unwrap();
        arguments.extend(["--after".to_owned(), in_force, "--out".to_owned(), roster.clone()]);
        run(&arguments).success();
        self.propose(&["--roster", &roster]);
        let activated = self.policy("admin", &["activate"]);
        let said = &activated.stderr;
        assert!(said.contains("before the next start"), "{said}");
        activated.success();
    }

    /// Takes the policies out of the configuration, as a start needs it once people must agree.
    pub(super) fn settle(&self) {
        let path = self.home.config();
        let text = fs::read_to_string(&path).unwrap();
        let text = text.replace("policies = [\"baseline\"]\n", "");
        let (before, policies) = text.split_once("[[policies]]").unwrap();
        let (_, after) = policies.split_once("\n[gate]").unwrap();
        fs::write(&path, format!("{before}\n[gate]{after}")).unwrap();
    }

    fn roster_in_force(&self) -> String {
        let file = self.text("roster-in-force.txt");
        self.policy("admin", &["status", "--roster-out", &file]).success();
        fs::read_to_string(file).unwrap()
    }

    /// A file of the home, as text.
    fn text(&self, name: &str) -> String {
        self.home.file(name).to_str().unwrap().to_owned()
    }

    /// The file of a person's key.
    pub(super) fn key(&self, name: &str) -> String {
        self.text(&format!("{name}.key"))
    }

    /// Runs `sealwright policy` as one of the callers.
    pub(super) fn policy(&self, caller: &str, arguments: &[&str]) -> Outcome {
        run(self.arguments(caller, arguments))
    }

    /// The arguments of that.
    pub(super) fn arguments(&self, caller: &str, arguments: &[&str]) -> Vec<String> {
        let folder: PathBuf = self.home.file(caller);
        let (chain, key) = (folder.join("cert-chain.pem"), folder.join("key.pem"));
        let roots = self.signer.trust_bundle();
        let mut all = vec!["policy"];
        all.extend(arguments);
        all.extend([
            "--server",
            self.signer.grpc(),
            "--ca-file",
            roots.to_str().unwrap(),
        ]);
        all.extend(["--cert", chain.to_str().unwrap(), "--key", key.to_str().unwrap()]);
        all.extend(["--output", "json"]);
        all.into_iter().map(str::to_owned).collect()
    }

    pub(super) fn status(&self) -> Value {
        self.policy("admin", &["status"]).json()
    }

    pub(super) fn propose(&self, arguments: &[&str]) -> Value {
        let mut all = vec!["propose"];
        all.extend(arguments);
        self.policy("admin", &all).json()
    }

    pub(super) fn approve(&self, person: &str, set: &str) -> Outcome {
        self.policy("admin", &["approve", set, "--sign-with", &self.key(person)])
    }

    /// The stock policy with other settings, signed by its author.
    /// Set 3, by two of three; its policy, which dan pushed, lets the namespace `default` pass.
    pub(super) fn narrowed(&self) -> (Pushed, String) {
        let settings = json!({"trust_domains": ["cluster.local"], "namespaces": ["default"]});
        let pushed = self.push("narrow", settings, "dan");
        let report_of = pushed.report_of_revision();
        let proposed = self.propose(&["--enforce", &pushed.revision, "--report", &report_of]);
        let set = proposed["set"].as_str().unwrap().to_owned();
        for person in ["ann", "bob"] {
            self.approve(person, &set).success();
        }
        self.policy("admin", &["activate", &set]).success();
        (pushed, set)
    }

    pub(super) fn push(&self, name: &str, settings: Value, author: &str) -> Pushed {
        let module = self.home.file("policies/baseline.wasm");
        self.push_module(&module, name, settings, Some(author))
    }

    /// The same in a rehearsal.
    pub(super) fn push_unsigned(&self, name: &str, settings: Value) -> Pushed {
        let module = self.home.file("policies/baseline.wasm");
        self.push_module(&module, name, settings, None)
    }

    pub(super) fn push_module(
        &self,
        module: &Path,
        name: &str,
        settings: Value,
        author: Option<&str>,
    ) -> Pushed {
        let file = self.text(&format!("{name}.json"));
        fs::write(&file, settings.to_string()).unwrap();
        let mut arguments = vec![
            "push",
            module.to_str().unwrap(),
            "--name",
            name,
            "--settings",
            &file,
        ];
        arguments.extend(["--trust-domain", "cluster.local"]);
        let key = author.map(|author| self.key(author));
        match &key {
            Some(key) => arguments.extend(["--sign-with", key]),
            None => arguments.push("--no-report"),
        }
        let pushed = self.policy("admin", &arguments).json();
        Pushed {
            revision: pushed["revision"].as_str().unwrap().to_owned(),
            report: pushed["report"].as_str().map(str::to_owned),
        }
    }

    /// A connection of the administrator.
    pub(super) async fn channel(&self) -> tonic::transport::Channel {
        let folder = self.home.file("admin");
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        let (chain, key) = (read("cert-chain.pem"), read("key.pem"));
        let client = sealwright_tests::Client::connect_with(&self.signer, &chain, &key);
        client.await.unwrap().channel()
    }
}
