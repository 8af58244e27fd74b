//! What one request is offered, by all selections that it goes by.

use std::sync::Arc;

use super::{Mask, Selection};
use crate::api::Entry;
use crate::error::Result;

/// What one request is offered: the operator's selection, narrowed by the session's and by its own.
#[derive(Debug, Clone)]
pub(in crate::server) struct Offer {
    pub(in crate::server) operator: Arc<Selection>,
    pub(in crate::server) session: Option<Arc<Selection>>,
    pub(in crate::server) request: Option<Arc<Selection>>,
}

impl Offer {
    fn selections(&self) -> impl Iterator<Item = &Selection> {
        [Some(&self.operator), self.session.as_ref(), self.request.as_ref()].into_iter().flatten().map(|selection| &**selection)
    }

    /// Whether all selections hold an operation.
    pub(in crate::server) fn holds(&self, entry: &Entry) -> bool {
        self.selections().all(|selection| selection.holds(entry))
    }

    /// Refuses an operation that a selection withholds.
    ///
    /// # Errors
    /// `FM-MCP-TOOLSET`, which says whose selection it is.
    pub(in crate::server) fn check(&self, entry: &Entry) -> Result<()> {
        self.selections().find(|selection| !selection.holds(entry)).map_or(Ok(()), |selection| Err(selection.refusal(entry)))
    }

    /// The operations that all selections hold; none if nothing is withheld.
    pub(in crate::server) fn mask(&self) -> Option<Mask> {
        self.selections().filter_map(|selection| selection.offered.as_ref()).fold(None, |mask: Option<Mask>, offered| match mask {
            None => Some(offered.clone()),
            Some(mut mask) => {
                mask.narrow(offered);
                Some(mask)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::catalogue;

    #[test]
    fn selections_only_narrow_one_another_and_say_whose_they_are() {
        let host = |toolsets: &[&str], read_only| {
            let lists: Vec<(&str, Vec<&str>)> = if toolsets.is_empty() { vec![] } else { vec![("", toolsets.to_vec())] };
            Some(Arc::new(Selection::of_host(&lists, read_only).unwrap()))
        };
        let offer = |session, request| {
            let operator = Selection::of_operator(&["core".to_owned()], &[], &["tasks_escalate".to_owned()], false).unwrap();
            Offer { operator: Arc::new(operator), session, request }
        };
        let offered = |offer: &Offer| -> Vec<&'static str> {
            let mask = offer.mask().unwrap();
            let names: Vec<&str> = catalogue().tools().filter(|entry| mask.has(entry)).map(|entry| entry.spec.name).collect();
            let one_by_one: Vec<&str> = catalogue().tools().filter(|entry| offer.holds(entry)).map(|entry| entry.spec.name).collect();
            assert_eq!(names, one_by_one);
            names
        };
        let narrowed = offer(host(&["tasks", "documents"], false), host(&[], true));
        assert_eq!(offered(&narrowed), ["tasks_get", "tasks_list", "tasks_history", "tasks_wait"]);
        let why = |tool: &str| narrowed.check(catalogue().get(tool).unwrap()).unwrap_err().to_string();
        assert!(why("tasks_escalate").contains("excludes tasks_escalate"), "{}", why("tasks_escalate"));
        assert!(why("documents_list").contains("offers the toolset core"), "{}", why("documents_list"));
        assert!(why("entities_get").contains("chose the toolsets tasks, documents"), "{}", why("entities_get"));
        assert!(why("tasks_assign").contains("only read"), "{}", why("tasks_assign"));
        narrowed.check(catalogue().get("tasks_get").unwrap()).unwrap();
        assert!(offered(&offer(host(&["documents"], false), None)).is_empty(), "what the operator withholds nobody gets back");
    }
}
