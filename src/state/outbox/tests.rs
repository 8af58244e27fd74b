//! The outbox as a dispatcher meets it: fair room, fair turns, back-off, dead letters.

use super::*;
use crate::state::{State, Store};

const LEASE: Duration = Duration::from_secs(15);
const LITTLE: Room = Room { of_tenant: 100_000, of_all: 100_000 };

fn at(seconds: f64) -> Timestamp {
    Timestamp::from_millis(1_000_000_000_000).plus_seconds(seconds)
}

fn letter(id: &str, tenant: &str, caller: &str) -> NewLetter {
    NewLetter { id: id.to_owned(), tenant: tenant.to_owned(), caller: caller.to_owned(), is_read: true, stands_for: 1, body: id.to_owned() }
}

fn append(store: &dyn Store, tenant: &str, caller: &str, ids: impl IntoIterator<Item = usize>) {
    let letters: Vec<_> = ids.into_iter().map(|id| letter(&format!("{tenant}-{caller}-{id:06}"), tenant, caller)).collect();
    store.append(&letters, Room::UNBOUNDED).unwrap();
}

fn ids(claim: &Claim) -> Vec<String> {
    claim.letters.iter().map(|letter| letter.id.clone()).collect()
}

fn claim(store: &dyn Store, now: f64) -> Option<Claim> {
    store.claim(64, LEASE, at(now)).unwrap()
}

/// Settles a claim by a judge of each letter, stopping at the first failure as a dispatcher does.
fn serve(store: &dyn Store, claim: &Claim, now: f64, takes: impl Fn(&str) -> bool) -> Vec<String> {
    let mut settlement = Settlement::default();
    for letter in &claim.letters {
        if takes(&letter.id) {
            settlement.delivered.push(letter.id.clone());
        } else {
            settlement.failed.push((letter.id.clone(), "it failed".to_owned()));
            settlement.back_off = Some(Duration::from_secs(1));
            if !letter.has_failed {
                break;
            }
        }
    }
    store.settle(claim, &settlement, at(now)).unwrap();
    settlement.delivered
}

fn waiting(store: &dyn Store) -> Backlog {
    store.backlog().unwrap()
}

#[test]
fn letters_leave_in_their_order_and_each_id_counts_once() {
    let state = State::new(None);
    let store = state.store();
    append(store, "t", "a", 0..100);
    append(store, "t", "a", 0..100);
    let first = claim(store, 0.0).unwrap();
    assert_eq!(first.letters.len(), 64);
    assert!(claim(store, 0.0).is_none(), "a leased tenant is not claimed twice");
    let mut delivered = serve(store, &first, 1.0, |_| true);
    let second = claim(store, 1.0).unwrap();
    delivered.extend(serve(store, &second, 1.0, |_| true));
    assert!(delivered.len() == 100 && delivered.is_sorted());
    assert!(claim(store, 2.0).is_none() && store.next_due().unwrap().is_none());
    assert_eq!(waiting(store), Backlog::default());
}

#[test]
fn a_flood_loses_its_own_newest_reads_and_no_other_callers() {
    let state = State::new(None);
    let store = state.store();
    for round in 0..60 {
        let flood: Vec<_> = (0..100).map(|id| letter(&format!("flood-{round:03}-{id:03}"), "t", "flood")).collect();
        store.append(&flood, LITTLE).unwrap();
        store.append(&[letter(&format!("other-{round}"), "u", "anna"), letter(&format!("same-{round}"), "t", "bert")], LITTLE).unwrap();
    }
    let act = NewLetter { is_read: false, ..letter("act", "t", "flood") };
    store.append(&[act], LITTLE).unwrap();
    append(store, "t", "flood", 0..0);
    let kept = |prefix: &str| {
        let mut kept = 0;
        for _ in 0..50 {
            let Some(claim) = store.claim(10_000, LEASE, at(0.0)).unwrap() else { break };
            kept += ids(&claim).iter().filter(|id| id.starts_with(prefix)).count();
        }
        store.hasten().unwrap();
        kept
    };
    assert_eq!(kept("other"), 60);
    let lost = store.lost().unwrap();
    assert!(lost.len() == 1 && lost[0].0 == "t" && lost[0].1 > 5000, "{lost:?}");
    let again = store.claim(10_000, LEASE, at(100.0)).unwrap().into_iter().chain(store.claim(10_000, LEASE, at(100.0)).unwrap());
    let kept: Vec<String> = again.flat_map(|claim| ids(&claim)).collect();
    assert_eq!(kept.iter().filter(|id| id.starts_with("same")).count(), 60);
    assert!(kept.iter().any(|id| id == "act"), "an act goes before reads");
    assert!(kept.iter().any(|id| id == "flood-000-000"), "the oldest reads stay");
}

#[test]
fn a_tenants_flood_loses_nothing_of_one_that_has_more_waiting() {
    let state = State::new(None);
    let store = state.store();
    let room = Room { of_tenant: 100_000, of_all: 150_000 };
    // More than half of all, and within its own part.
    let quiet: Vec<_> = (0..300).map(|id| letter(&format!("quiet-{id:03}"), "u", "anna")).collect();
    store.append(&quiet, room).unwrap();
    let room = Room { of_tenant: 50_000, ..room };
    for round in 0..60 {
        let flood: Vec<_> = (0..100).map(|id| letter(&format!("flood-{round:03}-{id:03}"), "t", &format!("caller-{}", id % 3))).collect();
        store.append(&flood, room).unwrap();
    }
    let lost = store.lost().unwrap();
    assert!(lost.len() == 1 && lost[0].0 == "t" && lost[0].1 > 5000, "{lost:?}");
    let kept = waiting(store).waiting;
    assert!((300..600).contains(&kept) && kept + lost[0].1 == 6_300, "{kept} {lost:?}");
}

#[test]
fn tenants_take_turns_and_so_do_callers() {
    let state = State::new(None);
    let store = state.store();
    append(store, "t", "flood", 0..1000);
    append(store, "t", "bert", 0..3);
    append(store, "u", "anna", 0..3);
    let first = claim(store, 0.0).unwrap();
    let second = claim(store, 0.0).unwrap();
    assert_eq!((first.lease.tenant.as_str(), second.lease.tenant.as_str()), ("t", "u"));
    assert_eq!(ids(&first).iter().filter(|id| id.starts_with("t-bert")).count(), 3);
    serve(store, &first, 0.1, |_| true);
    append(store, "u", "anna", 3..6);
    serve(store, &second, 0.2, |_| true);
    assert_eq!(claim(store, 0.3).unwrap().lease.tenant, "t");
    assert_eq!(claim(store, 0.3).unwrap().lease.tenant, "u");
}

#[test]
fn a_failing_tenant_backs_off_alone_and_longer_each_time() {
    let state = State::new(None);
    let store = state.store();
    append(store, "t", "a", 0..2);
    let mut now = 0.0;
    for pause in [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0] {
        serve(store, &claim(store, now).unwrap(), now, |_| false);
        assert!(claim(store, now + pause - 0.1).is_none(), "{pause}");
        append(store, "u", "a", [0]);
        serve(store, &claim(store, now).unwrap(), now, |_| true);
        now += pause;
    }
    assert_eq!(store.backlog().unwrap().backing_off, 2);
    serve(store, &claim(store, now).unwrap(), now, |_| true);
    assert_eq!(waiting(store), Backlog::default());
}

#[test]
fn an_outage_of_a_tenant_makes_no_letter_dead() {
    let state = State::new(None);
    let store = state.store();
    append(store, "t", "a", 0..3);
    for round in 0..50_u32 {
        let now = f64::from(round) * 60.0;
        append(store, "u", "a", [round as usize]);
        while let Some(claim) = claim(store, now) {
            serve(store, &claim, now, |id| id.starts_with('u'));
        }
    }
    assert_eq!(waiting(store), Backlog { waiting: 3, backing_off: 3, ..Backlog::default() });
}

#[test]
fn a_bad_letter_dies_once_others_passed_it_and_holds_none_up() {
    let state = State::new(None);
    let store = state.store();
    append(store, "t", "bad", 0..12);
    append(store, "t", "good", 0..3);
    let mut now = 0.0;
    let mut good = 0;
    for claims in 1..200 {
        let Some(claim) = claim(store, now) else { break };
        good += serve(store, &claim, now, |id| id.contains("good")).len();
        assert!(claims < 20 || good == 3, "the good ones wait for the bad ones");
        now += 60.0;
    }
    assert_eq!(good, 3);
    append(store, "t", "good", 3..4);
    for _ in 0..200 {
        let Some(claim) = claim(store, now) else { break };
        serve(store, &claim, now, |id| id.contains("good"));
        now += 60.0;
    }
    assert_eq!(waiting(store), Backlog { dead: 12, ..Backlog::default() });
    let dead = store.dead(0, 5).unwrap();
    assert_eq!((dead.len(), dead[0].reason.as_str(), dead[0].id.as_str()), (5, "it failed", "t-bad-000000"));
    assert_eq!(store.dead(dead[4].seq, 100).unwrap().len(), 7);
    assert_eq!(store.resend(Some("t-bad-000000")).unwrap(), 1);
    assert_eq!(store.resend(None).unwrap(), 11);
    let again = claim(store, now).unwrap();
    assert_eq!(serve(store, &again, now, |_| true).len(), 12);
    assert_eq!(waiting(store), Backlog::default());
}

#[test]
fn a_dead_claimants_letters_go_to_the_next_when_its_lease_ends() {
    let data = tempfile::tempdir().unwrap();
    let (one, other) = (State::new(Some(data.path())), State::new(Some(data.path())));
    append(one.store(), "t", "a", 0..3);
    let lost = claim(one.store(), 0.0).unwrap();
    assert!(claim(other.store(), 14.9).is_none());
    one.store().renew(&lost.lease, LEASE, at(10.0)).unwrap();
    assert!(claim(other.store(), 24.9).is_none() && other.store().is_leased(at(24.9)).unwrap());
    let taken = claim(other.store(), 25.0).unwrap();
    assert_eq!(ids(&taken), ids(&lost));
    // The first one lives after all: what it delivered is delivered, and the tenant stays with the second.
    serve(one.store(), &lost, 25.1, |id| id.ends_with('0'));
    assert!(claim(one.store(), 25.2).is_none());
    serve(other.store(), &taken, 25.3, |_| true);
    assert_eq!(waiting(one.store()), Backlog::default());
}

#[test]
fn a_letter_that_the_platform_never_takes_is_dead_at_once() {
    let state = State::new(None);
    let store = state.store();
    append(store, "t", "a", 0..2);
    let held = claim(store, 0.0).unwrap();
    let dead = ids(&held).into_iter().map(|id| (id, "FM-X: no".to_owned())).collect();
    store.settle(&held, &Settlement { dead, ..Settlement::default() }, at(0.0)).unwrap();
    assert_eq!(waiting(store), Backlog { dead: 2, ..Backlog::default() });
}

/// Makes large letters of a tenant dead, one after the other.
fn make_dead(store: &dyn Store, tenant: &str, megabytes: usize) {
    for id in 0..megabytes {
        let body = "x".repeat(1024 * 1024 - 1024);
        store.append(&[NewLetter { body, ..letter(&format!("{tenant}-{id:03}"), tenant, "a") }], Room::UNBOUNDED).unwrap();
        let held = claim(store, 0.0).unwrap();
        let dead = ids(&held).into_iter().map(|id| (id, "FM-X: no".to_owned())).collect();
        store.settle(&held, &Settlement { dead, ..Settlement::default() }, at(0.0)).unwrap();
    }
}

#[test]
fn a_tenants_dead_letters_leave_room_to_others() {
    let state = State::new(None);
    let store = state.store();
    make_dead(store, "flood", 11);
    assert_eq!(store.lost().unwrap(), [("flood".to_owned(), 2)], "without room, the next are lost");
    assert_eq!(store.dead(0, 100).unwrap().last().unwrap().id, "flood-008");
    for tenant in 1..8 {
        make_dead(store, &format!("t-{tenant}"), 8);
    }
    assert_eq!(waiting(store).dead, 64);
    assert_eq!((waiting(store).dead, store.lost().unwrap()), (64, vec![("flood".to_owned(), 3)]));
    // All are full: the small one's come in at the cost of the largest.
    make_dead(store, "small", 2);
    assert_eq!((waiting(store).dead, waiting(store).lost), (64, 5));
    let small = store.dead(0, 100).unwrap().iter().filter(|letter| letter.id.starts_with("small")).count();
    assert_eq!(small, 2);
    let resent = store.resend(Some("flood-000")).unwrap();
    let again = claim(store, 0.0).unwrap();
    assert_eq!((resent, serve(store, &again, 0.0, |_| true).len()), (1, 1));
    make_dead(store, "flood", 1);
    assert_eq!(waiting(store).dead, 64);
}
