//! `events`: follows what happens on the platform.

use serde_json::Value;

use super::Outcome;
use super::serve::shutdown_by_signal;
use super::setup::connection::Connection;
use super::terminal::{Paint, plain, tell, try_say};
use crate::api::arguments::quote;
use crate::api::{Event, Timestamp};
use crate::client::events::{EventStream, Notice, Source};
use crate::config::Config;
use crate::error::{Error, Kind, Result};

/// Which events, and how they are shown.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// A topic such as task.created, or a pattern such as execution.*; everything if absent.
    #[arg(value_name = "PATTERN", default_value = "*")]
    pattern: String,
    /// Begins with what happened since: a time such as 2025-02-07T10:00:00Z, or as long ago as 90s, 15m, 2h or 1d.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Prints each event as one line of JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &Arguments, config: &Config) -> Result<Outcome> {
    let since = arguments.since.as_deref().map(|text| since(text, Timestamp::now())).transpose()?;
    let shutdown = shutdown_by_signal();
    let connection = Connection::new(config)?;
    let mut stream = EventStream::open(connection.client.clone(), connection.principal()?, &arguments.pattern, since);
    let ended = loop {
        let notice = tokio::select! {
            biased;
            () = shutdown.cancelled() => break Ok(Outcome::Done),
            notice = stream.next() => notice,
        };
        match notice {
            Some(Ok(notice)) => {
                // Whoever read the output went away, as `head` does.
                if show(&notice, arguments.json).is_err() {
                    break Ok(Outcome::Done);
                }
            }
            Some(Err(error)) => break Err(error.during("events")),
            None => break Ok(Outcome::Failed),
        }
    };
    stream.close().await;
    connection.close().await;
    ended
}

fn show(notice: &Notice, json: bool) -> std::io::Result<()> {
    let paint = Paint;
    match notice {
        Notice::Event(event) if json => try_say(serde_json::to_string(&**event)?),
        Notice::Event(event) => try_say(line(event)),
        Notice::Started(Source::Channel) => {
            tell(paint.note("following; ctrl-c ends it."));
            Ok(())
        }
        Notice::Started(Source::Kafka) => {
            tell(paint.note("following the platform's Apache Kafka; ctrl-c ends it."));
            Ok(())
        }
        Notice::Started(Source::Replay) => {
            tell(paint.note("following by replay, every two seconds: there is no live channel for this caller; ctrl-c ends it."));
            Ok(())
        }
        Notice::Hint => {
            tell(paint.care("something happened that the platform did not describe."));
            Ok(())
        }
    }
}

/// An event as people read it: time, topic, what it is about, and the rest of its data.
fn line(event: &Event) -> String {
    let paint = Paint;
    let time = event.time.map_or_else(String::new, |time| format!("{} ", paint.note(time)));
    let topic = plain(&event.topic);
    let topic = match topic.rsplit('.').next().unwrap_or_default() {
        "failed" | "breached" | "dead_letter" => paint.bad(&topic),
        "cancelled" | "escalated" | "paused" | "waiting" => paint.care(&topic),
        "completed" | "responded" | "compensated" => paint.good(&topic),
        _ => paint.strong(&topic),
    };
    let subject = event.subject.as_deref().map_or_else(String::new, |subject| format!(" {}", plain(subject)));
    let is_subject = |value: &Value| value.as_str().is_some() && value.as_str() == event.subject.as_deref();
    let fields = event.data.iter().filter(|(_, value)| !is_subject(value));
    let fields: Vec<String> = fields
        .map(|(name, value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            format!("{}{}", paint.note(format_args!("{}=", plain(name))), plain(&text))
        })
        .collect();
    format!("{time}{topic}{subject} {}", fields.join(" ")).trim_end().to_owned()
}

/// Reads a time, or a span of time before now.
fn since(text: &str, now: Timestamp) -> Result<Timestamp> {
    let span = text.split_at_checked(text.len().saturating_sub(1)).and_then(|(number, unit)| {
        let seconds = match unit {
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            "d" => 86_400.0,
            _ => return None,
        };
        Some(f64::from(number.parse::<u32>().ok()?) * seconds)
    });
    match span {
        Some(seconds) => Ok(now.plus_seconds(-seconds)),
        None => text.parse().map_err(|_| {
            Error::configuration(Kind::Invalid, "FM-CLI-ARGUMENTS", format!("--since {} is not a time", quote(text)))
                .hint("Write a time such as 2025-02-07T10:00:00Z, or a span such as 90s, 15m, 2h or 1d.")
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_time_is_written_as_such_or_as_a_span() {
        let now: Timestamp = "2025-02-07T10:00:00Z".parse().unwrap();
        for (text, meant) in [
            ("90s", "2025-02-07T09:58:30Z"),
            ("15m", "2025-02-07T09:45:00Z"),
            ("2h", "2025-02-07T08:00:00Z"),
            ("1d", "2025-02-06T10:00:00Z"),
            ("2025-01-01T00:00:00Z", "2025-01-01T00:00:00Z"),
        ] {
            assert_eq!(since(text, now).unwrap(), meant.parse().unwrap(), "{text}");
        }
        for wrong in ["", "s", "soon", "-1h", "1.5h", "5", "5ü"] {
            assert_eq!(since(wrong, now).unwrap_err().code(), "FM-CLI-ARGUMENTS", "{wrong}");
        }
    }

    #[test]
    fn a_line_shows_no_field_twice_and_steers_no_terminal() {
        let event: Event = serde_json::from_value(json!({
            "id": "evt-1", "type": "task.created", "subject": "task-1",
            "data": { "taskId": "task-1", "status": "assigned", "title": "a\u{1b}[2Jb\nc" },
        }))
        .unwrap();
        let line = line(&event);
        assert!(line.contains("task-1") && line.matches("task-1").count() == 1, "{line}");
        assert!(line.contains("a[2Jb c") && !line.contains("\u{1b}[2J"), "{line:?}");
    }
}
