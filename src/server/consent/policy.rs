//! The operator's policy: what is allowed, asked about or denied, by tool, service, effect and role.
//!
//! The rules are looked through once, when the server is made. What remains for a call is one look-up by the tool's
//! name and, where roles decide, the few rules that name this tool and a role.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::api::near::nearest;
use crate::api::{Effect, SERVICES, Service, Spec};
use crate::auth::Caller;
use crate::config::{PolicyDecision as Decision, PolicyRule};
use crate::error::{Error, Kind, Result};

/// What every effect is called in a rule.
pub(in crate::server) const EFFECTS: [&str; 6] = ["read", "write", "send", "decide", "grant", "destroy"];

/// The rules, worked out for each tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// By name and effect, since the effect of a tool that names its route is that of the method.
    courses: HashMap<(&'static str, Effect), Course>,
    /// The roles that any rule names: only these tell callers apart.
    roles: HashSet<Arc<str>>,
    rules: usize,
}

/// What happens to a tool's calls.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Course {
    /// Rules for holders of roles that stand before the rule for all callers, in the operator's order.
    by_role: Vec<(Arc<HashSet<Arc<str>>>, Decision)>,
    /// What holds for all other callers.
    otherwise: Decision,
}

/// How a policy's tools are divided for a caller without any role.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Rules there are.
    pub rules: usize,
    /// Tools that are called without a question.
    pub allowed: usize,
    /// Tools that ask a person.
    pub confirmed: usize,
    /// Tools that a caller without a role does not see.
    pub denied: usize,
}

impl Default for Policy {
    /// No rules: the effect decides.
    fn default() -> Self {
        Self::compile(&[])
    }
}

impl Policy {
    /// Works out the rules.
    ///
    /// # Errors
    /// `FM-CONFIG-POLICY`: a rule names a tool, a service or an effect that does not exist.
    pub fn new(rules: &[PolicyRule]) -> Result<Self> {
        for (index, rule) in rules.iter().enumerate() {
            check(index + 1, rule)?;
        }
        Ok(Self::compile(rules))
    }

    fn compile(rules: &[PolicyRule]) -> Self {
        let mut all_roles: HashSet<Arc<str>> = HashSet::new();
        let rules: Vec<(&PolicyRule, Arc<HashSet<Arc<str>>>)> = rules
            .iter()
            .map(|rule| {
                let named: HashSet<Arc<str>> = rule.roles.iter().map(|role| Arc::from(role.as_str())).collect();
                all_roles.extend(named.iter().cloned());
                (rule, Arc::new(named))
            })
            .collect();
        // Where a call names the method, one that reads is judged as a read.
        let reading = tools().filter(|(_, spec)| spec.names_route).map(|(service, spec)| (service, spec.reading()));
        let courses = tools().map(|(service, spec)| (service, *spec)).chain(reading);
        let courses = courses.map(|(service, spec)| ((spec.name, spec.effect), course(&rules, service, &spec))).collect();
        Self { courses, roles: all_roles, rules: rules.len() }
    }

    /// What happens to a call of an operation. What is not a tool is the server's own business.
    pub(crate) fn decide(&self, caller: &Caller, spec: &Spec) -> Decision {
        let Some(course) = self.courses.get(&(spec.name, spec.effect)) else { return by_effect(spec) };
        let holds = |named: &HashSet<Arc<str>>| caller.roles.iter().any(|role| named.contains(role.as_str()));
        course.by_role.iter().find(|(named, _)| holds(named)).map_or(course.otherwise, |(_, decision)| *decision)
    }

    /// Refuses what is denied.
    ///
    /// # Errors
    /// `FM-MCP-POLICY`.
    pub(crate) fn check(&self, caller: &Caller, spec: &Spec) -> Result<Decision> {
        match self.decide(caller, spec) {
            Decision::Deny => Err(Error::new(
                Kind::Forbidden,
                "FM-MCP-POLICY",
                format!("the policy of this server's operator denies {} to {}", spec.name, caller.subject),
            )
            .hint("No permission changes that: leave it, and tell the person that the operator decides about it. Do not repeat the call.")),
            decision => Ok(decision),
        }
    }

    /// Those of a caller's roles that a rule names, in a fixed order: all that the policy sees of a caller.
    pub(crate) fn roles_of(&self, caller: &Caller) -> Vec<Arc<str>> {
        let mut held: Vec<Arc<str>> = caller.roles.iter().filter_map(|role| self.roles.get(role.as_str()).cloned()).collect();
        held.sort_unstable();
        held.dedup();
        held
    }

    /// How the tools are divided for a caller without any role.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let courses = tools().filter_map(|(_, spec)| self.courses.get(&(spec.name, spec.effect)));
        courses.fold(Tally { rules: self.rules, ..Tally::default() }, |mut tally, course| {
            *match course.otherwise {
                Decision::Allow => &mut tally.allowed,
                Decision::Confirm => &mut tally.confirmed,
                Decision::Deny => &mut tally.denied,
            } += 1;
            tally
        })
    }
}

fn tools() -> impl Iterator<Item = (&'static Service, &'static Spec)> {
    SERVICES
        .iter()
        .flat_map(|service| service.operations.iter().chain(service.composites).map(move |endpoint| (service, &endpoint.spec)))
        .filter(|(_, spec)| spec.tool)
}

/// What holds where no rule says anything.
const fn by_effect(spec: &Spec) -> Decision {
    if spec.effect.asks() { Decision::Confirm } else { Decision::Allow }
}

fn course(rules: &[(&PolicyRule, Arc<HashSet<Arc<str>>>)], service: &Service, spec: &Spec) -> Course {
    let mut by_role = Vec::new();
    for (rule, roles) in rules {
        let fits = (rule.tools.is_empty() || rule.tools.iter().any(|pattern| covers(pattern, spec.name)))
            && (rule.services.is_empty() || rule.services.iter().any(|name| name == service.name))
            && (rule.effects.is_empty() || rule.effects.iter().any(|name| name == spec.effect.name()));
        match (fits, roles.is_empty()) {
            (false, _) => {}
            (true, false) => by_role.push((Arc::clone(roles), rule.decision)),
            (true, true) => return Course { by_role, otherwise: rule.decision },
        }
    }
    Course { by_role, otherwise: by_effect(spec) }
}

pub(in crate::server) fn covers(pattern: &str, tool: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == tool, |beginning| tool.starts_with(beginning))
}

/// A rule that names what is not there would silently never fit.
fn check(number: usize, rule: &PolicyRule) -> Result<()> {
    let names: Vec<&str> = tools().map(|(_, spec)| spec.name).collect();
    for pattern in &rule.tools {
        if !names.iter().any(|name| covers(pattern, name)) {
            return Err(unknown(number, "tool", pattern, &names, "`flowmaster-mcp tools` lists the tools."));
        }
    }
    let services: Vec<&str> = SERVICES.iter().map(|service| service.name).collect();
    for name in &rule.services {
        if !services.contains(&name.as_str()) {
            return Err(unknown(number, "service", name, &services, &format!("There are {}.", services.join(", "))));
        }
    }
    for name in &rule.effects {
        if !EFFECTS.contains(&name.as_str()) {
            return Err(unknown(number, "effect", name, &EFFECTS, &format!("There are {}.", EFFECTS.join(", "))));
        }
    }
    if rule.roles.iter().any(|role| role.trim().is_empty()) {
        return Err(unknown(number, "role", "", &[], "Name the role as tokens write it, or leave `roles` out."));
    }
    Ok(())
}

fn unknown(number: usize, what: &str, name: &str, known: &[&str], hint: &str) -> Error {
    let shown: String = name.chars().filter(|c| !c.is_control()).take(80).collect();
    let meant = nearest(name.trim_end_matches('*'), known).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    Error::configuration(
        Kind::Invalid,
        "FM-CONFIG-POLICY",
        format!("rule {number} of the policy names the {what} `{shown}`, which does not exist{meant}"),
    )
    .hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::catalogue;
    use crate::auth::Credential;

    fn rule(decision: Decision) -> PolicyRule {
        PolicyRule { tools: vec![], services: vec![], effects: vec![], roles: vec![], decision }
    }

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn with_roles(roles: &[&str]) -> Caller {
        Caller { roles: list(roles), ..Caller::owner(Credential::Verified) }
    }

    fn decide(policy: &Policy, roles: &[&str], tool: &str) -> Decision {
        policy.decide(&with_roles(roles), &catalogue().get(tool).unwrap().spec)
    }

    #[test]
    fn without_rules_the_effect_decides() {
        let policy = Policy::default();
        for entry in catalogue().tools() {
            let asks = matches!(entry.spec.effect, Effect::Decide | Effect::Grant | Effect::Destroy);
            let decision = policy.decide(&with_roles(&[]), &entry.spec);
            assert_eq!(decision, if asks { Decision::Confirm } else { Decision::Allow }, "{}", entry.spec.name);
        }
    }

    #[test]
    fn the_first_rule_that_fits_decides_by_every_dimension() {
        let policy = Policy::new(&[
            PolicyRule { tools: list(&["tasks_respond"]), roles: list(&["bot"]), ..rule(Decision::Allow) },
            PolicyRule { tools: list(&["tasks_res*", "tasks_get"]), ..rule(Decision::Deny) },
            PolicyRule { services: list(&["process-design"]), effects: list(&["write"]), ..rule(Decision::Confirm) },
            PolicyRule { effects: list(&["destroy"]), roles: list(&["admin", "auditor"]), ..rule(Decision::Deny) },
            PolicyRule { effects: list(&["destroy"]), ..rule(Decision::Allow) },
        ])
        .unwrap();
        assert_eq!(decide(&policy, &["bot"], "tasks_respond"), Decision::Allow);
        assert_eq!(decide(&policy, &[], "tasks_respond"), Decision::Deny);
        assert_eq!(decide(&policy, &["bot"], "tasks_get"), Decision::Deny);
        assert_eq!(decide(&policy, &[], "tasks_list"), Decision::Allow);
        assert_eq!(decide(&policy, &[], "processes_update"), Decision::Confirm);
        assert_eq!(decide(&policy, &[], "processes_validate"), Decision::Allow);
        assert_eq!(decide(&policy, &["clerk", "auditor"], "entities_delete"), Decision::Deny);
        assert_eq!(decide(&policy, &["clerk"], "entities_delete"), Decision::Allow);
        let error = policy.check(&with_roles(&[]), &catalogue().get("tasks_get").unwrap().spec).unwrap_err();
        assert!(error.code() == "FM-MCP-POLICY" && error.message().contains("operator"), "{error}");
    }

    #[test]
    fn only_roles_that_a_rule_names_tell_callers_apart() {
        let policy = Policy::new(&[PolicyRule { roles: list(&["b", "a"]), ..rule(Decision::Deny) }]).unwrap();
        assert_eq!(policy.roles_of(&with_roles(&["b", "x", "a", "b"])), [Arc::from("a"), Arc::from("b")]);
        assert!(Policy::default().roles_of(&with_roles(&["a"])).is_empty());
    }

    #[test]
    fn a_rule_without_conditions_fits_everything() {
        let policy = Policy::new(&[PolicyRule { tools: list(&["tasks_*"]), ..rule(Decision::Allow) }, rule(Decision::Deny)]).unwrap();
        assert_eq!(decide(&policy, &[], "tasks_respond"), Decision::Allow);
        assert_eq!(decide(&policy, &[], "entities_get"), Decision::Deny);
        let tally = policy.tally();
        assert_eq!((tally.rules, tally.confirmed, tally.allowed + tally.denied), (2, 0, catalogue().tools().count()));
    }

    #[test]
    fn what_does_not_exist_is_refused_with_the_nearest_that_does() {
        for (rule, says) in [
            (PolicyRule { tools: list(&["task_respond"]), ..rule(Decision::Deny) }, "tasks_respond"),
            (PolicyRule { tools: list(&["nothing_*"]), ..rule(Decision::Deny) }, "rule 1"),
            (PolicyRule { tools: list(&["*_get"]), ..rule(Decision::Deny) }, "*_get"),
            (PolicyRule { tools: list(&["auth_login"]), ..rule(Decision::Deny) }, "auth_login"),
            (PolicyRule { services: list(&["human-tasks"]), ..rule(Decision::Deny) }, "human-task?"),
            (PolicyRule { effects: list(&["delete"]), ..rule(Decision::Deny) }, "destroy"),
            (PolicyRule { roles: list(&[" "]), ..rule(Decision::Deny) }, "role"),
        ] {
            let error = Policy::new(&[rule]).unwrap_err();
            assert!(error.code() == "FM-CONFIG-POLICY" && error.to_string().contains(says), "{error}");
        }
    }

    #[test]
    fn every_effect_has_its_name_in_rules() {
        assert!(catalogue().tools().all(|entry| EFFECTS.contains(&entry.spec.effect.name())));
    }
}
