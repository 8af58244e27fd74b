//! Setting the variables of an execution, within their bound.

use serde_json::Value;

use super::run::{MAX_VARIABLES, Run, size_of};
use crate::platform::engine::expressions::fault::Fault;
use crate::platform::engine::expressions::values::settle;

/// Sets a variable, as the kind that the process declares.
pub(crate) fn set_variable(run: &mut Run, name: &str, value: Value) -> Result<(), Fault> {
    let value = match run.plan.kind_of(name) {
        Some(kind) => settle(kind, value),
        None => value,
    };
    run.state.variables.insert(name.to_owned(), value);
    if size_of(&run.state.variables) > MAX_VARIABLES {
        return Err(Fault::new("VARIABLES_TOO_LARGE", format!("the variables would hold more than {MAX_VARIABLES} bytes")));
    }
    Ok(())
}
