//! Setting the variables of an execution, within their bound.

use serde_json::Value;

use super::run::{MAX_VARIABLES, Run, size_of};
use crate::platform::engine::expressions::fault::Fault;
use crate::platform::engine::expressions::values::settle;

/// Sets a variable, as the kind that the process declares.
pub(crate) fn set_variable(run: &mut Run, name: &str, value: Value) -> Result<(), Fault> {
    set_variables(run, [(name.to_owned(), value)])
}

/// Sets variables, each as the kind that the process declares. What all variables hold is measured once, however many are set.
pub(crate) fn set_variables(run: &mut Run, values: impl IntoIterator<Item = (String, Value)>) -> Result<(), Fault> {
    for (name, value) in values {
        let value = match run.plan.kind_of(&name) {
            Some(kind) => settle(kind, value),
            None => value,
        };
        run.state.variables.insert(name, value);
    }
    if size_of(&run.state.variables) > MAX_VARIABLES {
        return Err(Fault::new("VARIABLES_TOO_LARGE", format!("the variables would hold more than {MAX_VARIABLES} bytes")));
    }
    Ok(())
}
