//! How long a host on stdio waits from the start of the program to its list of tools.

use std::process::Command;
use std::time::Instant;

use crate::aims::percentile;
use crate::memory::Host;
use crate::program::released;
use crate::{Bench, Failure};

const STARTS: usize = 31;

pub fn measure(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let mut list = flowmaster_mcp::server::list_tools_json();
    let tools = list["tools"].take();
    let file = bench.home.join("tools.json");
    std::fs::write(&file, tools.to_string())?;
    let home = bench.home.join("started");
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..=STARTS {
        let mut bare = Command::new(std::env::current_exe()?);
        bare.arg("bare-stdio").arg(&file);
        let mut own = released(&home)?;
        own.arg("serve");
        for (command, times) in [&mut bare, &mut own].into_iter().zip(&mut times) {
            let begun = Instant::now();
            let host = Host::start(command)?;
            let took = begun.elapsed().as_secs_f64() * 1e3;
            drop(host);
            // The first start reads the program from the disk.
            if round > 0 {
                times.push(took);
            }
        }
    }
    let [bare, own] = times.map(|mut times| {
        times.sort_unstable_by(f64::total_cmp);
        percentile(&times, 50)
    });
    let count = tools.as_array().map_or(0, Vec::len);
    println!("from the start to tools/list on stdio, {count} tools, median of {STARTS}:");
    bench.aims.at_most(own, 12.0, format!("{own:.1} ms, bare rmcp {bare:.1} ms"));
    Ok(())
}
