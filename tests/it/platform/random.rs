//! Random expressions, schemas, records and graphs at the real program, which has little memory: it lives, it answers each
//! request, and no answer is a failure of its own.
//!
//! `FLOWMASTER_SEED` sets another seed and `FLOWMASTER_CASES` another number of cases. A failure names its seed and shows the
//! smallest input that was found to fail.

mod expressions;
mod graphs;
mod host;
mod schemas;

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};

use host::{Host, Limited};

/// What random numbers begin with, where nothing else is asked for.
const SEED: u64 = 20;
/// How many times a failing input is made smaller at most: each time the program may have to start again.
const SHRINKS: u32 = 60;

/// Longest input that a failure shows, in characters.
const MAX_SHOWN: usize = 4_000;

/// Throws inputs at one program, and says which was too much for it.
fn throw<S, F>(cases: u32, inputs: &S, case: impl Fn(Arc<Limited>, S::Value) -> F)
where
    S: Strategy,
    S::Value: Debug,
    F: Future<Output = Result<(), String>>,
{
    let number = |name: &str| std::env::var(name).ok().map(|number| number.parse::<u64>().unwrap());
    let seed = number("FLOWMASTER_SEED").unwrap_or(SEED);
    let cases = number("FLOWMASTER_CASES").map_or(cases, |cases| u32::try_from(cases).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let host = Host::new();
    let config =
        Config { cases, max_shrink_iters: SHRINKS, failure_persistence: None, rng_seed: RngSeed::Fixed(seed), ..Config::default() };
    let found = TestRunner::new(config).run(inputs, |input| {
        runtime.block_on(async {
            let program = host.program().await;
            let outcome = case(Arc::clone(&program), input).await;
            outcome.and(program.is_alive().await).map_err(|fault| {
                host.give_up();
                TestCaseError::fail(fault)
            })
        })
    });
    match found {
        Ok(()) => {}
        Err(TestError::Fail(why, input)) => {
            let input: String = format!("{input:?}").chars().take(MAX_SHOWN).collect();
            panic!("seed {seed}: {why}\n{input}")
        }
        Err(TestError::Abort(why)) => panic!("seed {seed}: {why}"),
    }
}
