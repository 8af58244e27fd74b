//! `call`: one tool through the real server, as a host would call it.

use std::io::Read as _;

use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use super::Outcome;
use super::host::{Answers, Asked, Session, take, text_of};
use super::setup::connection::Connection;
use super::terminal::{Paint, is_attended, say, tell};
use super::tools;
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::server;

/// What is called.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The tool, such as tasks_list.
    tool: String,
    /// One JSON object, - for one on stdin, or fields as key=value; variables.amount=5000 reaches inside.
    #[arg(value_name = "JSON | KEY=VALUE")]
    fields: Vec<String>,
    /// Answers yes when a person's consent is asked for.
    #[arg(long, short)]
    yes: bool,
    /// Prints the whole result as a host gets it.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Arguments, config: &Config) -> Result<Outcome> {
    let entry = tools::find(&arguments.tool).map_err(|error| error.during("call"))?;
    let fields = read(&arguments.fields)?;
    let asked = Asked::default();
    let answers = match (arguments.yes, is_attended()) {
        (true, _) => Answers::Yes(Asked::clone(&asked)),
        (false, true) => Answers::Person,
        (false, false) => Answers::Nobody,
    };
    let connection = Connection::new(config)?;
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let (input, output) = tokio::io::split(theirs);
    let ended = CancellationToken::new();
    let server = tokio::spawn(server::serve_stdio(connection.app()?, connection.principal()?, input, output, ended.clone()));
    let session = Session::open(tokio::io::split(ours), answers).await?;
    let result = session.call(entry.spec.name, fields).await;
    session.close().await;
    ended.cancel();
    if let Err(error) = server.await.map_err(Error::internal).flatten() {
        tracing::debug!(%error, "the server did not end well");
    }
    connection.close().await;

    for question in take(&asked) {
        let paint = Paint;
        tell(format_args!("{} {}", paint.care("yes to:"), question.lines().next().unwrap_or_default()));
    }
    let result = result?;
    let failed = result.is_error == Some(true);
    if arguments.json {
        say(serde_json::to_string(&result).map_err(Error::internal)?);
    } else if failed {
        tell(text_of(&result));
    } else if let Some(answer) = &result.structured_content {
        say(serde_json::to_string_pretty(answer).map_err(Error::internal)?);
    } else {
        say(text_of(&result));
    }
    Ok(if failed { Outcome::Failed } else { Outcome::Done })
}

/// Reads arguments from the command line.
fn read(words: &[String]) -> Result<Map<String, Value>> {
    match words {
        [] => Ok(Map::new()),
        [one] if one == "-" => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map_err(|error| usage("stdin cannot be read").caused_by(error))?;
            object(&text)
        }
        [one] if one.trim_start().starts_with('{') => object(one),
        words => {
            let mut fields = Map::new();
            for word in words {
                let (key, value) = word.split_once('=').ok_or_else(|| usage(format!("{word:?} is not a key=value")))?;
                put(&mut fields, key, value)?;
            }
            Ok(fields)
        }
    }
}

/// A field of the tool keeps its text, which the tool's schema turns into a number where it wants one; what is inside
/// a free-form object has no schema, so there 5000 is a number.
fn put(fields: &mut Map<String, Value>, key: &str, value: &str) -> Result<()> {
    match key.split_once('.') {
        None => {
            let looks_like_json = value.starts_with(['{', '[', '"']);
            let value = looks_like_json.then(|| serde_json::from_str(value).ok()).flatten().unwrap_or_else(|| value.into());
            fields.insert(key.to_owned(), value);
            Ok(())
        }
        Some((outer, inner)) => match fields.entry(outer).or_insert_with(|| Value::Object(Map::new())) {
            Value::Object(object) if inner.contains('.') => put(object, inner, value),
            Value::Object(object) => {
                object.insert(inner.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| value.into()));
                Ok(())
            }
            _ => Err(usage(format!("{outer:?} is given both as a whole and by its parts"))),
        },
    }
}

fn object(text: &str) -> Result<Map<String, Value>> {
    serde_json::from_str(text).map_err(|error| usage(format!("the arguments are not a JSON object: {error}")))
}

fn usage(what: impl Into<String>) -> Error {
    Error::configuration(Kind::Invalid, "FM-CLI-ARGUMENTS", what)
        .hint("Write one JSON object, or fields as key=value; `flowmaster-mcp tools NAME` shows them.")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn words(words: &[&str]) -> Result<Map<String, Value>> {
        read(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn fields_are_written_as_json_or_by_key() {
        let fields =
            words(&["processId=proc-1", "variables.amount=5000", "variables.userId=user-1", "limit=5", "nodes=[{\"id\":1}]"]).unwrap();
        assert_eq!(
            Value::Object(fields),
            json!({"processId": "proc-1", "variables": {"amount": 5000, "userId": "user-1"}, "limit": "5", "nodes": [{"id": 1}]})
        );
        assert_eq!(Value::Object(words(&[r#"{"id":"x"}"#]).unwrap()), json!({"id": "x"}));
        assert_eq!(words(&["a=b=c"]).unwrap()["a"], "b=c");
        for wrong in [&["word"][..], &["{"], &["a=1", "a.b=2"]] {
            assert_eq!(words(wrong).unwrap_err().code(), "FM-CLI-ARGUMENTS", "{wrong:?}");
        }
    }
}
