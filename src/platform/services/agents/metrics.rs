//! How much an agent was used, from the sums of the ledger.

use rusqlite::Row;

use super::store;
use crate::api::agents::{AgentMetrics, Metrics, ModelMetrics, Usage};
use crate::error::Result;
use crate::platform::http::context::Cx;

/// Most models that are listed: those used most.
const MAX_MODELS: usize = 50;

/// The sums of one model.
struct Sums {
    model: String,
    calls: u64,
    cached: u64,
    errors: u64,
    input: u64,
    output: u64,
    timed: u32,
    millis: f64,
}

pub(super) async fn metrics(cx: Cx, request: Metrics) -> Result<AgentMetrics> {
    let tenant = cx.tenant();
    let (id, mut sums) = cx
        .read(move |connection| {
            store::get(connection, tenant.as_str(), request.id.as_str())?;
            let mut statement = connection.prepare_cached(
                "SELECT model, calls, cached, errors, input_tokens, output_tokens, timed, millis FROM agent_totals \
                 WHERE tenant_id = ?1 AND agent_id = ?2",
            )?;
            let sums = statement.query_map((tenant.as_str(), request.id.as_str()), from_row)?.collect::<rusqlite::Result<Vec<_>>>()?;
            Ok((request.id, sums))
        })
        .await?;
    let total = |of: fn(&Sums) -> u64| sums.iter().map(of).sum::<u64>();
    let usage = Usage { input_tokens: total(|sums| sums.input), output_tokens: total(|sums| sums.output) };
    let timed: u32 = sums.iter().map(|sums| sums.timed).sum();
    let average = sums.iter().map(|sums| sums.millis).sum::<f64>() / 1000.0 / f64::from(timed);
    let (invocations, cache_hits, errors) = (total(|sums| sums.calls), total(|sums| sums.cached), total(|sums| sums.errors));
    sums.sort_by_key(|sums| std::cmp::Reverse(sums.calls));
    let of_model = |sums: Sums| ModelMetrics { model: sums.model, invocations: sums.calls, tokens_used: sums.input + sums.output };
    Ok(AgentMetrics {
        agent_id: id,
        invocations: Some(invocations),
        tokens_used: Some(usage.input_tokens + usage.output_tokens),
        usage: Some(usage),
        cache_hits: Some(cache_hits),
        errors: Some(errors),
        average_latency: (timed > 0).then_some(average),
        models: sums.into_iter().take(MAX_MODELS).map(of_model).collect(),
    })
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Sums> {
    let number = |place: usize| row.get::<_, i64>(place).map(i64::unsigned_abs);
    Ok(Sums {
        model: row.get(0)?,
        calls: number(1)?,
        cached: number(2)?,
        errors: number(3)?,
        input: number(4)?,
        output: number(5)?,
        timed: row.get(6)?,
        millis: row.get::<_, i64>(7)?.to_string().parse().unwrap_or_default(),
    })
}
