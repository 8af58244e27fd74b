//! What a tenant notices of another's flood.

use std::sync::Arc;
use std::time::Duration;

use crate::aims::percentile;
use crate::load::Load;
use crate::program::Program;
use crate::{Bench, Failure, SLOW};

const TURNS: usize = 3;
const TURN: Duration = Duration::from_secs(4);
/// Calls a second of the tenant that is measured.
const CALM: u32 = 200;
const FLOOD: u32 = 2_000;

pub async fn measure(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let platform = bench.platform(SLOW)?;
    let server = Arc::new(Program::server(&bench.home.join("flooded"), &platform.url, &[])?);
    // The two tenants share no connection.
    let [own, flooding] = [Arc::new(Load::new()?), Arc::new(Load::new()?)];
    let [anna, bert] = ["tenant-0", "tenant-1"].map(|tenant| Arc::<str>::from(bench.issuer.token(tenant, "anna")));
    let flood = || Arc::clone(&flooding).flood(Arc::clone(&server), FLOOD, TURN, Arc::clone(&bert));
    let calmly = || Arc::clone(&own).flood(Arc::clone(&server), CALM, TURN, Arc::clone(&anna));
    // Connections are open and tokens known before anything is counted.
    let _warm = tokio::join!(calmly(), flood());
    let (mut quiet, mut flooded, mut sent) = (Vec::new(), Vec::new(), 0);
    let (mut flood_sent, mut flood_answered) = (0, 0);
    for _ in 0..TURNS {
        let (calls, times) = calmly().await;
        quiet.extend(times);
        let (calm, others) = tokio::join!(calmly(), flood());
        flooded.extend(calm.1);
        sent += calls + calm.0;
        flood_sent += others.0;
        flood_answered += others.1.len();
    }
    let answered = quiet.len() + flooded.len();
    let [quiet, flooded] = [quiet, flooded].map(|times| {
        let mut times: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
        times.sort_unstable_by(f64::total_cmp);
        [50, 99].map(|part| percentile(&times, part))
    });
    println!("{CALM} calls a second of one tenant beside {FLOOD} of another, on a platform that takes {SLOW:?}, no limits of calls:");
    println!("          {flood_answered} of the flood's {flood_sent} calls were answered");
    println!("          p50 {:.2} ms against {:.2} ms when it is quiet", flooded[0], quiet[0]);
    let times = flooded[1] / quiet[1];
    bench.aims.at_most(times, 1.5, format!("p99 {:.2} ms against {:.2} ms when it is quiet, {times:.2} times", flooded[1], quiet[1]));
    bench.aims.equal(answered, sent, "answers to the calm tenant, of its calls");
    Ok(())
}
