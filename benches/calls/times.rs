//! How long calls take on a platform that is not at once there.

use crate::aims::percentile;
use crate::load::{AT_ONCE, Load, What};
use crate::program::Program;
use crate::{Bench, Failure, SLOW};

const ROUNDS: usize = 10;
const CALLS: usize = 2_000;

pub async fn measure(bench: &mut Bench<'_>, load: &Load) -> Result<(), Failure> {
    let platform = bench.platform(SLOW)?;
    let bare = Program::part(&["bare", &platform.url])?;
    let server = Program::server(&bench.home.join("slow"), &platform.url, &[])?;
    let tokens = [bench.issuer.token("tenant-0", "anna")];
    let mut taken = [Vec::new(), Vec::new()];
    for round in 0..=ROUNDS {
        for (program, taken) in [&bare, &server].into_iter().zip(&mut taken) {
            let times = load.send(program, What::Read, round * CALLS, CALLS, &tokens).await?;
            if round > 0 {
                taken.extend(times.iter().map(|time| time.as_secs_f64() * 1e3));
            }
        }
    }
    let [bare, own] = taken.map(|mut taken| {
        taken.sort_unstable_by(f64::total_cmp);
        [50, 99].map(|part| percentile(&taken, part))
    });
    println!("{AT_ONCE} at once on a platform that takes {SLOW:?}:");
    let more = own[0] - bare[0];
    bench.aims.at_most(more, 0.3, format!("p50 {:.2} ms against {:.2} ms of bare rmcp, {more:.2} ms more", own[0], bare[0]));
    let times = own[1] / bare[1];
    bench.aims.at_most(times, 1.25, format!("p99 {:.2} ms against {:.2} ms of bare rmcp, {times:.2} times", own[1], bare[1]));
    Ok(())
}
