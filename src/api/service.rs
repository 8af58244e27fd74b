//! A service of the platform: its operations, and every fact about it that server, platform and tests walk.

use super::cloud_event::{Event, topic_matches};
use super::operation::Endpoint;

/// One service of the platform. To add a fact is to add it here, and nowhere else.
#[derive(Debug, Clone, Copy)]
pub struct Service {
    /// The layer of the contract that it belongs to; each service says it.
    pub layer: Option<Layer>,
    /// The service's name on the platform, such as `human-task`.
    pub name: &'static str,
    /// The name of its module and of its golden files, such as `tasks`.
    pub module: &'static str,
    /// The abbreviation in its error codes, such as `HTS`.
    pub code: &'static str,
    /// One sentence on what it does.
    pub about: &'static str,
    /// Its operations in the contract's order.
    pub operations: &'static [Endpoint],
    /// Tools that the server makes of its reads, such as those that wait.
    pub composites: &'static [Endpoint],
    /// A sentence on which tools find a valid id, with the tools in back quotes.
    pub finder: &'static str,
    /// The ids in its answers.
    pub ids: &'static [Id],
    /// What can be read by address.
    pub resources: &'static [Resource],
    /// The fields of its objects that a confirmation shows, in their order.
    pub shown: &'static [&'static str],
    /// The field that a person's consent is bound to, where objects change by themselves; otherwise it is the version.
    pub judged_by: Option<&'static str>,
    /// Patterns of the topics that it publishes on, such as `task.*`.
    pub topics: &'static [&'static str],
}

/// The layers into which the contract divides its services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// Core Domain Services.
    Core,
    /// Intelligence Layer Services.
    Intelligence,
    /// Integration Layer Services.
    Integration,
    /// Platform/Foundation Services.
    Foundation,
    /// Support Layer Services.
    Support,
}

impl Layer {
    /// Every layer in the contract's order.
    pub const ALL: [Self; 5] = [Self::Core, Self::Intelligence, Self::Integration, Self::Foundation, Self::Support];

    /// The layer's name in settings and answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Intelligence => "intelligence",
            Self::Integration => "integration",
            Self::Foundation => "foundation",
            Self::Support => "support",
        }
    }
}

/// An id in answers: the field it stands in, what it names, and where more of its kind are found.
#[derive(Debug, Clone, Copy)]
pub struct Id {
    /// The field.
    pub field: &'static str,
    /// What it names, such as `task`; the same in every service.
    pub kind: &'static str,
    /// Whether the field counts in answers of the own service alone, as a plain `id` does.
    pub own: bool,
    /// The field beside it that says which kind of object it is, such as `entityType`.
    pub beside: Option<&'static str>,
    /// The operation that lists such ids.
    pub lister: Option<Lister>,
    /// The operation that lists some of them where a platform lacks the other one.
    pub fallback: Option<Lister>,
}

/// An operation whose list holds ids.
#[derive(Debug, Clone, Copy)]
pub struct Lister {
    /// The operation.
    pub operation: &'static str,
    /// Its arguments.
    pub arguments: &'static [(&'static str, &'static str)],
    /// The field of an item that holds the id.
    pub field: &'static str,
    /// The argument that an earlier part of the address fills, such as the type of a record.
    pub within: Option<&'static str>,
    /// How people call such things.
    pub named: Option<Named>,
}

/// A name that things of a kind are called by, beside their ids.
#[derive(Debug, Clone, Copy)]
pub struct Named {
    /// The field of an item that holds the name.
    pub field: &'static str,
    /// The argument of the list that narrows it to items of a name, where there is one.
    pub filter: Option<&'static str>,
    /// What every such name holds; nothing where any text may be one.
    pub holds: &'static str,
}

/// A resource that hosts read by its address, or a template of resources where the path has placeholders.
#[derive(Debug, Clone, Copy)]
pub struct Resource {
    /// The address after the scheme.
    pub path: &'static str,
    /// The name in lists.
    pub name: &'static str,
    /// The title for people.
    pub title: &'static str,
    /// One sentence on what it holds.
    pub description: &'static str,
    /// The operation that reads it.
    pub operation: &'static str,
    /// Arguments beyond those in the address.
    pub fixed: &'static [(&'static str, &'static str)],
    /// The kinds of the ids that its placeholders take.
    pub ids: &'static [(&'static str, &'static str)],
    /// The events that tell of its changes.
    pub changes: &'static [Change],
}

/// Events that tell of a resource's changes.
#[derive(Debug, Clone, Copy)]
pub struct Change {
    /// A topic, or a pattern such as `task.*`.
    pub topic: &'static str,
    /// The fields of the event's data that hold the ids in the resource's address, in their order.
    pub fields: &'static [&'static str],
}

impl Service {
    /// A service by its name, its module, its abbreviation and a sentence.
    #[must_use]
    pub const fn new(name: &'static str, module: &'static str, code: &'static str, about: &'static str) -> Self {
        Self {
            layer: None,
            name,
            module,
            code,
            about,
            operations: &[],
            composites: &[],
            finder: "",
            ids: &[],
            resources: &[],
            shown: &[],
            judged_by: None,
            topics: &[],
        }
    }

    /// The layer of the contract that it belongs to.
    #[must_use]
    pub const fn layer(mut self, layer: Layer) -> Self {
        self.layer = Some(layer);
        self
    }

    /// The name for people, such as `Human Task`.
    #[must_use]
    pub fn title(&self) -> String {
        let word = |word: &str| match word {
            "ai" => "AI".to_owned(),
            _ => word.get(..1).unwrap_or_default().to_uppercase() + word.get(1..).unwrap_or_default(),
        };
        self.name.split('-').map(word).collect::<Vec<_>>().join(" ")
    }

    /// Its operations in the contract's order.
    #[must_use]
    pub const fn operations(mut self, operations: &'static [Endpoint]) -> Self {
        self.operations = operations;
        self
    }

    /// The tools that the server makes of its reads.
    #[must_use]
    pub const fn composites(mut self, composites: &'static [Endpoint]) -> Self {
        self.composites = composites;
        self
    }

    /// The sentence on which tools find a valid id.
    #[must_use]
    pub const fn finder(mut self, sentence: &'static str) -> Self {
        self.finder = sentence;
        self
    }

    /// The ids in its answers.
    #[must_use]
    pub const fn ids(mut self, ids: &'static [Id]) -> Self {
        self.ids = ids;
        self
    }

    /// What can be read by address.
    #[must_use]
    pub const fn resources(mut self, resources: &'static [Resource]) -> Self {
        self.resources = resources;
        self
    }

    /// The fields that a confirmation shows.
    #[must_use]
    pub const fn shown(mut self, fields: &'static [&'static str]) -> Self {
        self.shown = fields;
        self
    }

    /// The field that consent is bound to, since objects change by themselves.
    #[must_use]
    pub const fn judged_by(mut self, field: &'static str) -> Self {
        self.judged_by = Some(field);
        self
    }

    /// Patterns of the topics that it publishes on.
    #[must_use]
    pub const fn topics(mut self, patterns: &'static [&'static str]) -> Self {
        self.topics = patterns;
        self
    }
}

impl Id {
    /// An id that goes by this field in every answer.
    #[must_use]
    pub const fn of(field: &'static str, kind: &'static str) -> Self {
        Self { field, kind, own: false, beside: None, lister: None, fallback: None }
    }

    /// An id that goes by this field in answers of its own service.
    #[must_use]
    pub const fn own(field: &'static str, kind: &'static str) -> Self {
        Self { own: true, ..Self::of(field, kind) }
    }

    /// The id counts where this field says which kind of object it is.
    #[must_use]
    pub const fn beside(mut self, field: &'static str) -> Self {
        self.beside = Some(field);
        self
    }

    /// More such ids are in the items of this operation's list.
    #[must_use]
    pub const fn listed(mut self, lister: Lister) -> Self {
        self.lister = Some(lister);
        self
    }

    /// Where a platform lacks that operation, some such ids are in the items of this one.
    #[must_use]
    pub const fn or_listed(mut self, lister: Lister) -> Self {
        self.fallback = Some(lister);
        self
    }
}

impl Lister {
    /// The ids in a field of an operation's items.
    #[must_use]
    pub const fn new(operation: &'static str, arguments: &'static [(&'static str, &'static str)], field: &'static str) -> Self {
        Self { operation, arguments, field, within: None, named: None }
    }

    /// People call such things by what stands in this field.
    #[must_use]
    pub const fn named(mut self, field: &'static str) -> Self {
        self.named = Some(Named { field, filter: None, holds: "" });
        self
    }

    /// As [`Lister::named`], where an argument narrows the list to a name, and every name holds this text.
    #[must_use]
    pub const fn named_by(mut self, field: &'static str, filter: &'static str, holds: &'static str) -> Self {
        self.named = Some(Named { field, filter: Some(filter), holds });
        self
    }

    /// An earlier part of the address fills this argument.
    #[must_use]
    pub const fn within(mut self, argument: &'static str) -> Self {
        self.within = Some(argument);
        self
    }
}

impl Resource {
    /// A resource by its path and the operation that reads it, with a name, a title and a sentence.
    #[must_use]
    pub const fn new(
        path: &'static str,
        operation: &'static str,
        name: &'static str,
        title: &'static str,
        description: &'static str,
    ) -> Self {
        Self { path, name, title, description, operation, fixed: &[], ids: &[], changes: &[] }
    }

    /// Arguments beyond those in the address.
    #[must_use]
    pub const fn fixed(mut self, arguments: &'static [(&'static str, &'static str)]) -> Self {
        self.fixed = arguments;
        self
    }

    /// The kinds of the ids that its placeholders take.
    #[must_use]
    pub const fn takes(mut self, ids: &'static [(&'static str, &'static str)]) -> Self {
        self.ids = ids;
        self
    }

    /// The events that tell of its changes.
    #[must_use]
    pub const fn changed_by(mut self, changes: &'static [Change]) -> Self {
        self.changes = changes;
        self
    }

    /// The names of the placeholders in their order.
    pub fn placeholders(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
    }

    /// Whether the path has placeholders.
    #[must_use]
    pub fn is_template(&self) -> bool {
        self.path.contains('{')
    }
}

impl Change {
    /// Events of a topic, with the fields that hold the ids in the address.
    #[must_use]
    pub const fn new(topic: &'static str, fields: &'static [&'static str]) -> Self {
        Self { topic, fields }
    }

    /// Returns the ids of the resource that an event tells of; `None` where it tells of none.
    #[must_use]
    pub fn ids_in(&self, event: &Event) -> Option<Vec<String>> {
        let id = |field: &&str| event.data.get(*field)?.as_str().map(str::to_owned);
        if topic_matches(self.topic, &event.topic) { self.fields.iter().map(id).collect() } else { None }
    }
}

#[cfg(test)]
mod tests;
