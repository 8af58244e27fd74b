//! The audit log of calls: entries, reads, queues per tenant, outages.

mod calls;
mod outage;
mod queues;
mod reads;
