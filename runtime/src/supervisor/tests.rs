//! Supervision of shell scripts that stand for gate and front.

use std::{cell::Cell, rc::Rc};

use super::*;

fn shell(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]);
    command
}

fn plan(gate: &'static str, front: &'static str) -> Plan {
    Plan {
        gate: Box::new(move || shell(gate)),
        front: Box::new(move |_| shell(front)),
        judge: Box::new(|| shell("exec cat <&0 >&0")),
        gate_descriptor: None,
        end_with: vec![EXIT_CONFIG],
        drain: Duration::from_secs(10),
        on_ready: Box::new(|_| {}),
    }
}

#[tokio::test]
async fn ends_with_the_code_of_a_front_that_never_listened() {
    let mut signals = Signals::install().unwrap();
    let code = run(plan("exec sleep 600", "exit 2"), &mut signals).await.unwrap();
    assert_eq!(code, 2);
}

#[tokio::test]
async fn ends_with_the_code_of_a_gate_whose_configuration_cannot_work() {
    let mut signals = Signals::install().unwrap();
    let code = run(plan("exit 2", "exec sleep 600"), &mut signals).await.unwrap();
    assert_eq!(code, EXIT_CONFIG);
}

#[tokio::test]
async fn starts_a_crashing_gate_again_but_not_one_with_a_refused_pin() {
    // Ends once the gate was started for the third time.
    let starts = Rc::new(Cell::new(0));
    let counted = Rc::clone(&starts);
    let mut plan = plan("", "exec sleep 600");
    plan.gate = Box::new(move || {
        counted.set(counted.get() + 1);
        shell(match counted.get() {
            1 => "exit 70",
            2 => "kill -9 $$",
            _ => "exit 2",
        })
    });
    let mut signals = Signals::install().unwrap();
    assert_eq!(run(plan, &mut signals).await.unwrap(), EXIT_CONFIG);
    assert_eq!(starts.get(), 3);

    let mut supervisor = Supervisor::new(self::plan("echo wrong PIN; exit 7", "exec sleep 600"));
    supervisor.start_gate().unwrap();
    let Event::Ended(ended) = supervisor.gate.event().await else {
        panic!("not started");
    };
    assert_eq!(ended.to_string(), "exit code 7: wrong PIN");
    assert_eq!(supervisor.gate_ended(&ended).await, None);
    let due = tokio::time::timeout(Duration::ZERO, supervisor.gate.event()).await;
    assert!(due.is_err(), "nobody starts it again");
    supervisor.reload();
    assert!(matches!(supervisor.gate.event().await, Event::Due));
    supervisor.stop().await;
}

#[tokio::test]
async fn kills_what_does_not_end_in_time() {
    let mut plan = plan("trap '' TERM; while :; do sleep 1; done", "exec sleep 600");
    plan.drain = Duration::from_millis(50);
    let mut supervisor = Supervisor::new(plan);
    supervisor.start_gate().unwrap();
    supervisor.start_front().unwrap();
    supervisor.stop().await;
    let running = tokio::time::timeout(Duration::ZERO, supervisor.gate.event()).await;
    assert!(running.is_err(), "reaped");
}

#[tokio::test]
async fn a_front_gets_a_process_that_judges_one_after_the_other() {
    use std::io::{Read, Write};

    use control::{Link, News};

    let mut supervisor = Supervisor::new(plan("", ""));
    let (ours, theirs) = control::pair().unwrap();
    supervisor.control = Some(Control::new(ours).unwrap());
    let front = Link::new(theirs).unwrap();
    let mut judges = Vec::new();
    for ticket in 1..=2 {
        front.tell(&FromFront::Judge { ticket }).await.unwrap();
        let heard = control::receive(supervisor.control.as_ref()).await;
        supervisor.heard(heard).await;
        let Some(News::Judge {
            ticket: answered,
            stream: Ok(stream),
        }) = front.news().await.unwrap()
        else {
            panic!("no judge");
        };
        assert_eq!(answered, ticket);
        judges.push(stream);
    }
    let mut heard = String::new();
    assert_eq!(
        judges[0].read_to_string(&mut heard).unwrap_or(0),
        0,
        "it was ended"
    );
    judges[1].write_all(b"a module").unwrap();
    judges[1].shutdown(std::net::Shutdown::Write).unwrap();
    judges[1].read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "a module");
    assert!(matches!(supervisor.judge.event().await, Event::Ended(_)));

    supervisor.plan.judge = Box::new(|| Command::new("/nonexistent/program"));
    supervisor.start_judge(3).await;
    let news = front.news().await.unwrap();
    assert!(
        matches!(
            news,
            Some(News::Judge {
                ticket: 3,
                stream: Err(_)
            })
        ),
        "{news:?}"
    );
    supervisor.stop().await;
}
