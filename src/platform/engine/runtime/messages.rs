//! A message of a person outside comes to the execution that its conversation is linked to, in the same transaction.

use serde_json::{Value, json};

use super::rehearsal;
use super::run::{self, Run, Wait};
use crate::api::processes::Node;
use crate::error::Result;
use crate::platform::engine::definition::config::Timer;
use crate::platform::engine::{Engine, Mode, Stop};

impl Engine<'_, '_> {
    /// Waits for a message, or takes the one that a rehearsal brings: its text, or its fields.
    pub(crate) fn wait_for_message(&mut self, run: &mut Run, place: usize, node: &Node, timeout: Option<Timer>) -> Result<(), Stop> {
        if let Mode::Rehearsal(answers) = &mut self.mode
            && let Some(answer) = answers.next(&node.id)?
        {
            self.goes_on_later();
            if rehearsal::times_out(node, &answer)? {
                return self.time_over(run, place, node);
            }
            let message = if answer.is_string() { json!({ "message": answer }) } else { answer };
            return self.done(run, place, node, message);
        }
        let until = timeout.map(|timeout| self.time_of(run, timeout)).transpose()?;
        let token = &mut run.state.tokens[place];
        (token.wait, token.until) = (Wait::Message, until);
        self.waits(run, node, json!({ "waitsFor": "message", "until": until }))
    }

    /// Takes in a message; the step of the execution that has waited longest goes on with it. Says whether any waited.
    pub fn message_came(&mut self, execution: &str, message: Value) -> Result<bool> {
        if run::read(self.tx, self.tx.scope().tenant.as_str(), execution)?.is_none() {
            return Ok(false);
        }
        let mut run = Run::load(self.tx, execution)?;
        let Some(place) = run.state.tokens.iter().position(|token| token.wait == Wait::Message) else { return Ok(false) };
        let node = run.node(&run.state.tokens[place].node)?;
        self.attempt_at(&mut run, place, |engine, run| engine.done(run, place, &node, message))?;
        self.go_on(&mut run)?;
        Ok(true)
    }
}
