//! An operation of the platform as a Rust type: everything said of it elsewhere derives from here.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};

use super::long_work::{Job, LongWork};
use super::permission::Permission;
use super::problem::FieldError;
use super::schema::{self, Shape};

/// One operation of the platform.
///
/// The type's doc comment is the tool's description, its fields are the arguments, and [`Operation::SPEC`] says
/// how it travels and what it does.
pub trait Operation: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static {
    /// What the platform answers.
    type Output: Serialize + DeserializeOwned + JsonSchema + Send + 'static;

    /// Route, effect, permission and policy of the operation.
    const SPEC: Spec;

    /// What stands against the call already, as its object tells, so that no person is asked about it in vain.
    fn objection(&self, _object: &serde_json::Value) -> Option<Objection> {
        None
    }
}

/// Why the platform is going to refuse a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Objection {
    /// The code that the platform's refusal would have.
    pub code: &'static str,
    /// What stands against the call.
    pub message: String,
    /// The faults of its arguments; none where the object's state is the reason.
    pub fields: Vec<FieldError>,
}

impl Objection {
    /// The state of the object does not allow the call.
    #[must_use]
    pub fn state(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), fields: Vec::new() }
    }
}

/// What an operation does to the world. Annotations, policy and confirmation follow from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Changes nothing.
    Read,
    /// Changes the platform's state, within what its user can undo or redo.
    Write,
    /// Leaves the platform: messages, notifications, deliveries, calls of other systems.
    Send,
    /// Speaks for a person.
    Decide,
    /// Gives someone power: roles, permissions, approvals.
    Grant,
    /// Deletes, cancels or ends something for good.
    Destroy,
}

impl Effect {
    /// The effect's name as configuration, golden files and audit rows write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Send => "send",
            Self::Decide => "decide",
            Self::Grant => "grant",
            Self::Destroy => "destroy",
        }
    }

    /// Whether a person is asked before it happens, unless the operator's policy says otherwise.
    #[must_use]
    pub const fn asks(self) -> bool {
        matches!(self, Self::Decide | Self::Grant | Self::Destroy)
    }
}

/// The HTTP methods that the contract uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// Reads; its arguments are the query.
    Get,
    /// Creates or runs; its arguments are the JSON body.
    Post,
    /// Replaces or moves on; its arguments are the JSON body.
    Put,
    /// Removes; without a body unless the operation says so.
    Delete,
}

impl Method {
    /// The method's name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

/// How it is told beforehand that a thing of some name exists already.
#[derive(Debug, Clone, Copy)]
pub struct Unique {
    /// The operation that lists the things, filtered by the field.
    pub lister: &'static str,
    /// The argument that names the thing.
    pub field: &'static str,
    /// The code of the platform's refusal.
    pub code: &'static str,
}

/// The constants of an operation, built up from its method.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// The tool's name: `<nouns>_<verb>`, unique.
    pub name: &'static str,
    /// The tool's title for people.
    pub title: &'static str,
    /// The HTTP method.
    pub method: Method,
    /// The contract's path; `{id}` names the field that fills the segment. A composite has none.
    pub path: &'static str,
    /// What the operation does to the world.
    pub effect: Effect,
    /// The permission it needs, if any.
    pub permission: Option<Permission>,
    /// Whether a second call leaves the world as the first did.
    pub idempotent: bool,
    /// Whether it is offered as a tool; login and refresh are the server's own business.
    pub tool: bool,
    /// Whether it belongs to a person's daily work.
    pub essential: bool,
    /// Whether hosts that search their tools are asked to show this one to the model from the start.
    pub always_loaded: bool,
    /// Whether it needs no token: login and refresh alone.
    pub public: bool,
    /// Whether a DELETE carries a body.
    pub body: bool,
    /// The status of success.
    pub success: u16,
    /// Body fields of the contract that repeat a path field: `(body field, path field)`.
    pub repeats: &'static [(&'static str, &'static str)],
    /// Whether the body names the caller's tenant as `tenantId`; it is filled from the caller and never an argument.
    pub names_tenant: bool,
    /// Whether the contract lacks it, and a platform may too.
    pub extension: bool,
    /// Whether a call names method and path by itself: the effect is that of the method, and no service owns the route.
    pub names_route: bool,
    /// Whether its answer is made of events and the audit log where a platform lacks it.
    pub is_derivable: bool,
    /// Whether its answer can be told while it is written.
    pub streams: bool,
    /// The operation beyond the contract that a composite is made of.
    pub made_of: Option<&'static str>,
    /// The name that the id of the answer goes by elsewhere, where that is not `id`.
    pub id_alias: Option<&'static str>,
    /// Prefixes of operations whose cached answers a call makes stale.
    pub evicts: &'static [&'static str],
    /// How long an answer may be reused.
    pub cache: Option<Duration>,
    /// Whether an answer is the same for everybody in a tenant.
    pub shared_in_tenant: bool,
    /// Arguments that name a user, where `me` is the caller.
    pub users: &'static [&'static str],
    /// Arguments that the operator's own commands send alone: hosts neither see nor send them.
    pub operators: &'static [&'static str],
    /// The composite that waits for what the operation begins, where a host says how long by [`WAIT_SECONDS`].
    pub waits: Option<&'static str>,
    /// How its work is followed where it takes long.
    pub long_work: Option<LongWork>,
    /// What there must be only one of.
    pub unique: Option<Unique>,
    /// The operation that tells, by the same arguments, what a call would do; a platform may lack it.
    pub preview: Option<&'static str>,
    /// Largest body, in bytes.
    pub max_body: usize,
}

/// The argument of hosts that has the server wait for what a call begins; the platform does not know it.
pub const WAIT_SECONDS: &str = "waitSeconds";
/// Longest such wait, in seconds.
pub const MAX_WAIT_SECONDS: u64 = 300;

/// Largest body of an operation that carries no file, in bytes.
pub const MAX_BODY: usize = 1024 * 1024;
/// Largest body of an operation that carries a file of 25 MiB in base64, in bytes.
const MAX_FILE_BODY: usize = 34_952_536 + MAX_BODY;

impl Spec {
    const fn new(method: Method, name: &'static str, path: &'static str, effect: Effect) -> Self {
        Self {
            name,
            title: "",
            method,
            path,
            effect,
            permission: None,
            idempotent: !matches!(method, Method::Post),
            tool: true,
            essential: false,
            always_loaded: false,
            public: false,
            body: matches!(method, Method::Post | Method::Put),
            success: if matches!(method, Method::Delete) { 204 } else { 200 },
            repeats: &[],
            names_tenant: false,
            extension: false,
            names_route: false,
            is_derivable: false,
            streams: false,
            made_of: None,
            id_alias: None,
            evicts: &[],
            cache: None,
            shared_in_tenant: false,
            users: &[],
            operators: &[],
            waits: None,
            long_work: None,
            unique: None,
            preview: None,
            max_body: MAX_BODY,
        }
    }

    /// An operation that reads by GET.
    #[must_use]
    pub const fn get(name: &'static str, path: &'static str, effect: Effect) -> Self {
        Self::new(Method::Get, name, path, effect)
    }

    /// An operation by POST.
    #[must_use]
    pub const fn post(name: &'static str, path: &'static str, effect: Effect) -> Self {
        Self::new(Method::Post, name, path, effect)
    }

    /// An operation by PUT.
    #[must_use]
    pub const fn put(name: &'static str, path: &'static str, effect: Effect) -> Self {
        Self::new(Method::Put, name, path, effect)
    }

    /// An operation by DELETE.
    #[must_use]
    pub const fn delete(name: &'static str, path: &'static str, effect: Effect) -> Self {
        Self::new(Method::Delete, name, path, effect)
    }

    /// A tool that the server makes of other reads: it has no route of its own.
    #[must_use]
    pub const fn composite(name: &'static str) -> Self {
        Self::new(Method::Get, name, "", Effect::Read)
    }

    /// A tool whose calls name method and path: it destroys, unless the method reads.
    #[must_use]
    pub const fn any_route(name: &'static str) -> Self {
        let mut spec = Self::new(Method::Post, name, "", Effect::Destroy);
        spec.names_route = true;
        // It has no body of its own, so no idempotency key makes a call repeatable: of a route that nobody knows, reads alone are.
        spec.body = false;
        spec
    }

    /// The same tool as a call that only reads goes by it.
    #[must_use]
    pub const fn reading(mut self) -> Self {
        self.effect = Effect::Read;
        self.idempotent = true;
        self
    }

    /// Whether it has no route of its own: the server makes it of other reads, or each call names one.
    #[must_use]
    pub const fn is_composite(&self) -> bool {
        self.path.is_empty()
    }

    /// The title shown to people.
    #[must_use]
    pub const fn titled(mut self, title: &'static str) -> Self {
        self.title = title;
        self
    }

    /// The permission that a caller needs.
    #[must_use]
    pub const fn requires(mut self, permission: Permission) -> Self {
        self.permission = Some(permission);
        self
    }

    /// A second call does something again, whatever the method says.
    #[must_use]
    pub const fn not_idempotent(mut self) -> Self {
        self.idempotent = false;
        self
    }

    /// A POST that only reads or that can be repeated without harm.
    #[must_use]
    pub const fn repeatable(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// Kept from hosts: it takes or gives a secret.
    #[must_use]
    pub const fn internal(mut self) -> Self {
        self.tool = false;
        self
    }

    /// Belongs to a person's daily work: the toolset `essentials` holds it.
    #[must_use]
    pub const fn essential(mut self) -> Self {
        self.essential = true;
        self
    }

    /// Begins a person's daily work: hosts that search their tools are asked to show it to the model from the start.
    #[must_use]
    pub const fn always_loaded(mut self) -> Self {
        self.essential = true;
        self.always_loaded = true;
        self
    }

    /// Called without a token.
    #[must_use]
    pub const fn public(mut self) -> Self {
        self.public = true;
        self
    }

    /// A DELETE that carries a body.
    #[must_use]
    pub const fn with_body(mut self) -> Self {
        self.body = true;
        self
    }

    /// The status of success, where it is not the method's own.
    #[must_use]
    pub const fn answers(mut self, status: u16) -> Self {
        self.success = status;
        self
    }

    /// Body fields that repeat a path field, filled by the wire mapping.
    #[must_use]
    pub const fn repeats(mut self, fields: &'static [(&'static str, &'static str)]) -> Self {
        self.repeats = fields;
        self
    }

    /// A body that names the caller's tenant, filled by the wire mapping.
    #[must_use]
    pub const fn names_tenant(mut self) -> Self {
        self.names_tenant = true;
        self
    }

    /// An operation that the contract lacks.
    #[must_use]
    pub const fn extension(mut self) -> Self {
        self.extension = true;
        self
    }

    /// An operation that the contract lacks, whose answer can be made of events and the audit log.
    #[must_use]
    pub const fn derivable_extension(mut self) -> Self {
        self.extension = true;
        self.is_derivable = true;
        self
    }

    /// A composite that is there where an operation beyond the contract is.
    #[must_use]
    pub const fn made_of_extension(mut self, operation: &'static str) -> Self {
        self.extension = true;
        self.made_of = Some(operation);
        self
    }

    /// The answer can be told while it is written, as server-sent events.
    #[must_use]
    pub const fn streams(mut self) -> Self {
        self.streams = true;
        self
    }

    /// Another name of the answer's `id`, read when `id` is absent.
    #[must_use]
    pub const fn id_alias(mut self, name: &'static str) -> Self {
        self.id_alias = Some(name);
        self
    }

    /// Prefixes of operations whose cached answers this makes stale.
    #[must_use]
    pub const fn evicts(mut self, prefixes: &'static [&'static str]) -> Self {
        self.evicts = prefixes;
        self
    }

    /// Arguments that name a user; `me` in them is replaced by the caller's id.
    #[must_use]
    pub const fn names_users(mut self, arguments: &'static [&'static str]) -> Self {
        self.users = arguments;
        self
    }

    /// A composite waits for what the operation begins, where a host asks for it.
    #[must_use]
    pub const fn waits_by(mut self, composite: &'static str) -> Self {
        self.waits = Some(composite);
        self
    }

    /// A composite whose wait can go on as a task.
    #[must_use]
    pub const fn waits_long(mut self) -> Self {
        self.long_work = Some(LongWork::Wait);
        self
    }

    /// Begins a job that a read follows.
    #[must_use]
    pub const fn begins(mut self, job: Job) -> Self {
        self.long_work = Some(LongWork::Job(job));
        self
    }

    /// The platform answers when the work is done, which may take long.
    #[must_use]
    pub const fn works_long(mut self) -> Self {
        self.long_work = Some(LongWork::Call);
        self
    }

    /// Arguments that hosts neither see nor send, such as another tenant.
    #[must_use]
    pub const fn operators(mut self, arguments: &'static [&'static str]) -> Self {
        self.operators = arguments;
        self
    }

    /// What it creates is the only one of its name, which an operation that lists them tells beforehand.
    #[must_use]
    pub const fn unique(mut self, unique: Unique) -> Self {
        self.unique = Some(unique);
        self
    }

    /// A person who is asked is shown what this operation answers to the same arguments.
    #[must_use]
    pub const fn previewed_by(mut self, operation: &'static str) -> Self {
        self.preview = Some(operation);
        self
    }

    /// An answer may be reused for so many seconds.
    #[must_use]
    pub const fn cached(mut self, seconds: u64) -> Self {
        self.cache = Some(Duration::from_secs(seconds));
        self
    }

    /// The body carries a file.
    #[must_use]
    pub const fn with_file(mut self) -> Self {
        self.max_body = MAX_FILE_BODY;
        self
    }

    /// The answer cannot depend on who in the tenant asks.
    #[must_use]
    pub const fn shared_in_tenant(mut self) -> Self {
        self.shared_in_tenant = true;
        self
    }
}

/// The erased, `const` view of an operation.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint {
    /// Route, effect, permission and policy.
    pub spec: Spec,
    request: fn() -> schemars::Schema,
    answer: fn() -> schemars::Schema,
    decode: fn(serde_json::Value) -> Result<(), serde_json::Error>,
    round_trip: fn(serde_json::Value) -> Result<serde_json::Value, serde_json::Error>,
    objection: fn(serde_json::Value, &serde_json::Value) -> Option<Objection>,
}

impl Endpoint {
    /// The view of one operation.
    #[must_use]
    pub const fn of<O: Operation>() -> Self {
        Self {
            spec: O::SPEC,
            request: schema::generate::<O>,
            answer: schema::generate::<O::Output>,
            decode: |value| serde_json::from_value::<O>(value).map(drop),
            objection: |arguments, object| serde_json::from_value::<O>(arguments).ok()?.objection(object),
            round_trip: |value| serde_json::from_value::<O>(value).and_then(serde_json::to_value),
        }
    }

    /// Computes description and cleaned schemas; the catalogue does so once.
    #[must_use]
    pub fn shape(&self) -> Shape {
        let mut shape = Shape::new((self.request)(), (self.answer)(), matches!(self.spec.effect, Effect::Read));
        if let Some(serde_json::Value::Object(listed)) = shape.listed.get_mut("properties") {
            listed.retain(|name, _| !self.spec.operators.contains(&name.as_str()));
            if self.spec.waits.is_some() {
                let schema = serde_json::json!({
                    "type": "integer", "maximum": MAX_WAIT_SECONDS,
                    "description": "Seconds to wait for its end or a person's turn; no wait if absent.",
                });
                listed.insert(WAIT_SECONDS.to_owned(), schema);
            }
        }
        shape
    }

    /// The schemas of request and answer as the types say them, before they are cleaned for hosts.
    #[must_use]
    pub fn schemas(&self) -> [serde_json::Value; 2] {
        [(self.request)().to_value(), (self.answer)().to_value()]
    }

    /// Whether arguments decode as the operation's type.
    ///
    /// # Errors
    /// What serde has against them.
    pub fn decode(&self, arguments: serde_json::Value) -> Result<(), serde_json::Error> {
        (self.decode)(arguments)
    }

    /// What stands against a call with these arguments, as its object tells.
    #[must_use]
    pub fn objection(&self, arguments: serde_json::Value, object: &serde_json::Value) -> Option<Objection> {
        (self.objection)(arguments, object)
    }

    /// Decodes arguments as the operation's type and writes them again.
    ///
    /// # Errors
    /// What serde has against them.
    pub fn round_trip(&self, arguments: serde_json::Value) -> Result<serde_json::Value, serde_json::Error> {
        (self.round_trip)(arguments)
    }
}

/// Lists operations as endpoints.
macro_rules! operations {
    ($($operation:ty),* $(,)?) => { &[$($crate::api::Endpoint::of::<$operation>()),*] };
}
pub(crate) use operations;
