//! Bounds, claims and letters of webhooks, as several processes would use them.

use std::time::Duration;

use super::*;
use crate::state::State;

const BOUNDS: WebhookBounds = WebhookBounds { per_owner: 2, per_tenant: 3, all: 4 };
const LEASE: Duration = Duration::from_mins(1);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

fn webhook(tenant: &str, owner: &str, id: &str) -> Webhook {
    Webhook {
        id: id.to_owned(),
        tenant: tenant.to_owned(),
        owner: owner.to_owned(),
        url: format!("https://hooks.example.com/{owner}"),
        value: "{}".to_owned(),
        cursor: "l.0".to_owned(),
        expires: Some(at(1_000)),
    }
}

fn letter(id: &str) -> WebhookLetter {
    WebhookLetter { id: id.to_owned(), body: format!("{{\"eventId\":\"{id}\"}}") }
}

#[test]
fn a_repeat_updates_and_the_bounds_hold() {
    let state = State::new(None);
    let store = state.webhooks();
    for (tenant, owner, id, kept) in [
        ("t1", "anna", "1", Kept::New),
        ("t1", "anna", "1", Kept::Updated),
        ("t1", "anna", "2", Kept::New),
        ("t1", "anna", "3", Kept::Full),
        ("t1", "bert", "4", Kept::New),
        ("t1", "carl", "5", Kept::Full),
        ("t2", "dora", "6", Kept::New),
        ("t3", "erik", "7", Kept::Full),
        ("t2", "eve", "1", Kept::Full),
    ] {
        assert_eq!(store.keep(&webhook(tenant, owner, id), BOUNDS, at(0)).unwrap(), kept, "{tenant} {owner} {id}");
    }
    assert!(store.find("eve", "1", at(0)).unwrap().is_none() && !store.end("eve", "1").unwrap());
    assert!(store.delivers_to("anna", "https://hooks.example.com/anna", at(0)).unwrap());
    assert!(!store.delivers_to("bert", "https://hooks.example.com/anna", at(0)).unwrap());
    assert!(store.end("anna", "1").unwrap() && store.find("anna", "1", at(0)).unwrap().is_none());
    assert_eq!(store.live(at(999)).unwrap().len(), 3);
    assert!(store.live(at(1_000)).unwrap().is_empty());
    assert_eq!(store.keep(&webhook("t3", "erik", "7"), BOUNDS, at(1_001)).unwrap(), Kept::New, "what had ended made room");
}

#[test]
fn one_claims_and_nothing_is_lost_or_left_out() {
    let state = State::new(None);
    let store = state.webhooks();
    store.keep(&webhook("t1", "anna", "1"), BOUNDS, at(0)).unwrap();
    let claim = store.claim_due(&[], 10, LEASE, at(0)).unwrap().unwrap();
    assert!(claim.letters.is_empty() && store.claim_due(&[], 10, LEASE, at(0)).unwrap().is_none());
    assert!(store.take_over(&claim, &[letter("e1"), letter("e2"), letter("e1")], "l.2").unwrap());
    assert!(store.note(&claim, "e1", Outcome::Taken, at(1)).unwrap());
    let acknowledged = |now| store.find("anna", "1", at(now)).unwrap().unwrap().1.acknowledged;
    assert_eq!(acknowledged(1), "l.0", "one is on its way");
    // The process ends here; another one goes on when the lease is over.
    assert!(store.claim_due(&[], 10, LEASE, at(59)).unwrap().is_none());
    let again = store.claim_due(&[], 10, LEASE, at(61)).unwrap().unwrap();
    assert_eq!((again.letters.clone(), again.webhook.cursor.as_str()), (vec![letter("e2")], "l.2"));
    assert!(!store.take_over(&claim, &[letter("e3")], "l.9").unwrap() && !store.note(&claim, "e2", Outcome::Taken, at(61)).unwrap());
    assert!(store.note(&again, "e2", Outcome::Failed("http_5xx"), at(62)).unwrap());
    store.release(&again, at(70)).unwrap();
    // What fails waits for its time, whatever happens meanwhile.
    store.wake(&["1".to_owned()], at(63)).unwrap();
    assert_eq!((store.due_next().unwrap(), store.claim_due(&[], 10, LEASE, at(63)).unwrap().is_none()), (Some(at(70)), true));
    assert!(store.claim_due(&["t1".to_owned()], 10, LEASE, at(70)).unwrap().is_none(), "the tenant has its share");
    let third = store.claim_due(&[], 10, LEASE, at(70)).unwrap().unwrap();
    assert_eq!((third.delivery.attempts, third.delivery.last_error.as_deref()), (1, Some("http_5xx")));
    assert!(store.note(&third, "e2", Outcome::Dead("http_5xx"), at(71)).unwrap());
    assert_eq!(acknowledged(71), "l.2");
    store.release(&third, at(80)).unwrap();
    store.wake(&["1".to_owned()], at(72)).unwrap();
    let fourth = store.claim_due(&[], 10, LEASE, at(72)).unwrap().unwrap();
    assert_eq!((fourth.letters.len(), fourth.delivery.dead, fourth.delivery.failing_since), (0, 1, Some(at(62))));
    // A dead letter is not taken over again.
    assert!(store.take_over(&fourth, &[letter("e2"), letter("e4")], "l.4").unwrap());
    store.release(&fourth, at(72)).unwrap();
    let fifth = store.claim_due(&[], 10, LEASE, at(72)).unwrap().unwrap();
    assert_eq!(fifth.letters, [letter("e4")]);
    // Its caller came with another token while the claimant saw that the first one had ended.
    let renewed = Webhook { value: "{\"token\":2}".to_owned(), ..webhook("t1", "anna", "1") };
    assert_eq!(store.keep(&renewed, BOUNDS, at(73)).unwrap(), Kept::Updated);
    store.end_claimed(&fifth).unwrap();
    let sixth = store.claim_due(&[], 10, LEASE, at(73)).unwrap().unwrap();
    assert_eq!(sixth.webhook.value, renewed.value);
    store.end_claimed(&sixth).unwrap();
    assert!(store.live(at(73)).unwrap().is_empty());
}

#[test]
fn what_happens_during_a_claim_is_looked_at_after_it() {
    let state = State::new(None);
    let store = state.webhooks();
    store.keep(&webhook("t1", "anna", "1"), BOUNDS, at(0)).unwrap();
    let claim = store.claim_due(&[], 10, LEASE, at(0)).unwrap().unwrap();
    store.wake(&["1".to_owned()], at(1)).unwrap();
    assert!(store.claim_due(&[], 10, LEASE, at(1)).unwrap().is_none(), "it is claimed");
    store.release(&claim, at(15)).unwrap();
    let woken = store.claim_due(&[], 10, LEASE, at(1)).unwrap().unwrap();
    store.release(&woken, at(15)).unwrap();
    assert_eq!(store.due_next().unwrap(), Some(at(15)), "nothing happened meanwhile");
    let failing = store.claim_due(&[], 10, LEASE, at(15)).unwrap().unwrap();
    store.take_over(&failing, &[letter("e1")], "l.1").unwrap();
    store.wake(&["1".to_owned()], at(16)).unwrap();
    store.note(&failing, "e1", Outcome::Failed("http_5xx"), at(16)).unwrap();
    store.release(&failing, at(20)).unwrap();
    assert_eq!(store.due_next().unwrap(), Some(at(20)), "what fails waits for its time");
}
