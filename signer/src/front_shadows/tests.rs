use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use sealwright_identity::ManualClock;
use sealwright_policy_wasm::{
    Engine, EngineSettings, Evaluation, Limits, PolicySource, Verdict, WIT_VERSION,
};
use sealwright_statement::policy::{self, Scope};
use tokio::time::advance;

use super::*;
use crate::testing::baseline;

const HOUR: Duration = Duration::from_secs(3600);

struct Shadowing {
    shadows: FrontShadows,
    policy: Arc<Policy>,
    registry: Registry,
    clock: ManualClock,
}

impl Shadowing {
    fn new(most: usize) -> Self {
        let engine = Engine::new(EngineSettings::default()).unwrap();
        let source = PolicySource {
            name: "tried".to_owned(),
            component: std::fs::read(baseline()).unwrap(),
            settings: serde_json::json!({"trust_domains": ["cluster.local"]}),
            limits: Limits::default(),
        };
        let clock = ManualClock::at(Timestamp::from_unix_seconds(1_000_000));
        let shared: SharedClock = Arc::new(clock.clone());
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry, Arc::clone(&shared));
        Self {
            shadows: FrontShadows::new(most, shared, metrics),
            policy: Arc::new(Policy::load(&engine, source).unwrap()),
            registry,
            clock,
        }
    }

    fn start(&self, revision: &Sealed<Revision>, duration: Duration) -> Result<Arc<FrontShadow>, NoPlace> {
        let policy = Arc::clone(&self.policy);
        self.shadows.start(revision.clone(), policy, ann(), duration)
    }

    fn running(&self) -> Vec<Digest> {
        let running = self.shadows.list();
        running.iter().map(|shadow| shadow.revision.digest()).collect()
    }

    fn page(&self) -> String {
        let mut page = String::new();
        encode(&mut page, &self.registry).unwrap();
        page
    }
}

fn ann() -> SpiffeId {
    "spiffe://cluster.local/ns/ops/sa/ann".parse().unwrap()
}

fn web() -> [SpiffeId; 1] {
    ["spiffe://cluster.local/ns/shop/sa/web".parse().unwrap()]
}

fn revision(policy: &str, namespaces: &[&str]) -> Sealed<Revision> {
    Sealed::new(Revision {
        policy: policy.parse().unwrap(),
        module: Digest::of(b"module"),
        source: None,
        settings: "{}".to_owned(),
        scope: Scope {
            namespaces: namespaces.iter().map(|&name| name.to_owned()).collect(),
            ..Scope::all_of("cluster.local".parse().unwrap())
        },
        wit: WIT_VERSION.to_owned(),
        limits: policy::Limits { fuel: 1, memory: 0 },
    })
    .unwrap()
}

fn observed(policy: &str, difference: Difference) -> Observation {
    Observation {
        evaluation: Evaluation {
            name: policy.to_owned(),
            module: Digest::of(b"module"),
            settings: Digest::of(b"settings"),
            limits: Limits::default(),
            verdict: Verdict::Deny,
            fuel: 1,
            narrowing: None,
            denial: None,
            aborted: None,
            log: Vec::new(),
        },
        difference,
    }
}

#[tokio::test(start_paused = true)]
async fn a_shadow_of_the_front_ends_with_its_time() {
    let shadowing = Shadowing::new(2);
    let (short, long) = (revision("short", &[]), revision("long", &[]));
    let started = shadowing.start(&short, HOUR).unwrap();
    assert_eq!(
        started.until,
        Timestamp::from_unix_seconds(1_000_000).saturating_add(HOUR)
    );
    let left = Arc::downgrade(&started);
    drop(started);
    shadowing.start(&long, 2 * HOUR).unwrap();
    advance(HOUR - Duration::from_millis(1)).await;
    assert_eq!(shadowing.shadows.about("default", &web()).len(), 2);
    advance(Duration::from_millis(1)).await;
    // Not asked from that moment on, and given up without anybody's doing.
    assert_eq!(shadowing.shadows.about("default", &web()).len(), 1);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(left.upgrade().is_none());
    assert_eq!(shadowing.running(), [long.digest()]);

    // The time of day may be set; how long it runs does not depend on it.
    shadowing.clock.set(Timestamp::from_unix_seconds(0));
    assert_eq!(shadowing.running(), [long.digest()]);
    // Asked for again the time begins anew, and what was counted stays.
    let again = &shadowing.shadows.list();
    shadowing
        .shadows
        .said(again, vec![observed("long", Difference::Denies)], &Span::none());
    let again = shadowing.start(&long, HOUR).unwrap();
    assert_eq!(again.counts.of(Difference::Denies), 1);
    advance(HOUR - Duration::from_secs(1)).await;
    assert_eq!(shadowing.running(), [long.digest()]);
    advance(Duration::from_secs(1)).await;
    assert!(shadowing.running().is_empty());
}

#[tokio::test]
async fn places_are_few_and_come_back() {
    let shadowing = Shadowing::new(2);
    let all = ["one", "two", "three"].map(|name| revision(name, &[]));
    let [one, two, three] = &all;
    shadowing.start(one, HOUR).unwrap();
    shadowing.start(two, HOUR).unwrap();
    assert_eq!(shadowing.start(three, HOUR).unwrap_err(), NoPlace::Taken(2));
    let has_place = |revision: &Sealed<Revision>| shadowing.shadows.has_place(revision.digest());
    assert_eq!(has_place(three), Err(NoPlace::Taken(2)));
    // One that runs has its place.
    assert_eq!(has_place(two), Ok(()));
    shadowing.start(two, HOUR).unwrap();
    assert_eq!(shadowing.running().len(), 2);
    assert!(shadowing.shadows.stop(three.digest()).is_none());
    assert!(shadowing.shadows.stop(one.digest()).is_some());
    shadowing.start(three, HOUR).unwrap();
    assert_eq!(shadowing.running(), [two.digest(), three.digest()]);

    let none = Shadowing::new(0);
    assert_eq!(none.start(one, HOUR).unwrap_err(), NoPlace::None);
}

#[tokio::test]
async fn only_who_is_in_the_scope_is_shown_to_a_shadow() {
    let shadowing = Shadowing::new(4);
    let shop = revision("shop", &["shop"]);
    shadowing.start(&shop, HOUR).unwrap();
    shadowing.start(&revision("bank", &["bank"]), HOUR).unwrap();
    let asked = shadowing.shadows.about("default", &web());
    let asked: Vec<Digest> = asked.iter().map(|shadow| shadow.revision.digest()).collect();
    assert_eq!(asked, [shop.digest()]);
}

#[tokio::test]
async fn what_shadows_of_the_front_say_is_counted_under_few_names() {
    let shadowing = Shadowing::new(1);
    for number in 0..MAX_NAMES + 2 {
        let name = format!("name-{number}");
        let revision = revision(&name, &[]);
        let shadow = shadowing.start(&revision, HOUR).unwrap();
        let asked = std::slice::from_ref(&shadow);
        let said = vec![observed(&name, Difference::Denies)];
        shadowing.shadows.said(asked, said, &Span::none());
        shadowing.shadows.left_out(asked);
        let counted = (
            shadow.counts.of(Difference::Denies),
            shadow.counts.times_left_out(),
        );
        assert_eq!(counted, (1, 1));
        shadowing.shadows.stop(revision.digest()).unwrap();
    }
    let page = shadowing.page();
    let line = |policy: &str, count: usize| {
        format!(
            r#"sealwright_policy_shadows_total{{policy="{policy}",difference="denies",origin="front"}} {count}"#
        )
    };
    assert!(page.contains(&line("name-0", 1)), "{page}");
    assert!(page.contains(&line(OTHER_NAMES, 2)), "{page}");
    let left_out = format!(
        r#"sealwright_policy_shadows_left_out_total{{origin="front"}} {}"#,
        MAX_NAMES + 2
    );
    assert!(page.contains(&left_out), "{page}");
}
