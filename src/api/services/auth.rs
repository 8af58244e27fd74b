//! Authentication & Authorization Service: login, tokens, roles (contract, section 13).

mod users;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::ids::{RoleId, TenantId, UserId};
use crate::api::operation::operations;
use crate::api::service::{Id, Layer, Lister};
use crate::api::{Done, Effect, Operation, Page, PageRequest, Permission, Secret, Service, Spec, Timestamp, Unique};

pub use users::{AssignRoles, CreateUser, GetUser, ListUsers, SetPassword};

/// Authentication & Authorization Service.
pub const SERVICE: Service = Service::new("authentication", "auth", "AAS", "Who the caller is and may do; roles and their permissions.")
    .layer(Layer::Foundation)
    .operations(operations![
        Login,
        Logout,
        Refresh,
        Validate,
        ListPermissions,
        CreateRole,
        ListRoles,
        AssignPermissions,
        CreateServiceToken,
        CreateUser,
        ListUsers,
        GetUser,
        AssignRoles,
        SetPassword,
    ])
    .finder(
        "`roles_list` shows the roles and `users_list` the users, with their ids; `audit_query` with resourceType role names the roles \
         there are.",
    )
    .ids(&[
        Id::of("roleId", "role").listed(Lister::new("roles_list", &[], "roleId")),
        Id::own("id", "user").listed(Lister::new("users_list", &[], "id").named_by("email", "username", "@")),
    ])
    .shown(&["email", "roles", "name", "description", "createdAt"])
    .topics(&["user.*", "role.*"]);

/// Signs a user in. The server does so itself; it is not a tool.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Login {
    /// The user's name, an e-mail address.
    #[schemars(length(min = 1, max = 254))]
    pub username: String,
    /// The password.
    #[schemars(length(min = 1, max = 1024))]
    pub password: Secret,
    /// The tenant to sign in to.
    pub tenant_id: TenantId,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("username", &self.username).field("tenant_id", &self.tenant_id).finish_non_exhaustive()
    }
}

/// What a login or a refresh gives.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tokens {
    /// The JWT that goes with every call.
    pub access_token: Secret,
    /// Gives the next pair, once.
    pub refresh_token: Secret,
    /// Seconds until the access token ends.
    pub expires_in: u64,
    /// Who signed in.
    pub user: User,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("expires_in", &self.expires_in).field("user", &self.user).finish_non_exhaustive()
    }
}

/// A user as a login shows them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct User {
    /// The user.
    pub id: UserId,
    /// Their address.
    #[serde(default)]
    pub email: String,
    /// Their roles.
    #[serde(default)]
    pub roles: Vec<String>,
    /// Their permissions.
    #[serde(default)]
    pub permissions: Vec<String>,
}

impl Operation for Login {
    type Output = Tokens;
    const SPEC: Spec = Spec::post("auth_login", "/auth/login", Effect::Write).titled("Sign in").internal().public();
}

/// Signs me out and ends my session on this computer.
///
/// I'm finished for today, so log off my current account now; somebody saw my login, so kill the token; we share the
/// laptop here and another user is next, so close or drop the access securely, or disconnect and leave.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Logout {}

impl Operation for Logout {
    type Output = Done;
    const SPEC: Spec = Spec::post("auth_logout", "/auth/logout", Effect::Destroy).titled("Log off").answers(204).repeatable();
}

/// Exchanges a refresh token for the next pair. The server does so itself; it is not a tool.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Refresh {
    /// The refresh token; it is spent.
    pub refresh_token: Secret,
}

impl std::fmt::Debug for Refresh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Refresh").finish_non_exhaustive()
    }
}

impl Operation for Refresh {
    type Output = Tokens;
    const SPEC: Spec = Spec::post("auth_refresh", "/auth/refresh", Effect::Write).titled("Renew a login").internal().public();
}

/// Tells who I am logged in as and whether my session is still valid.
///
/// Is the bearer token I got genuine, to whom does it belong, has the login expired, do I sign in again, how long until
/// it runs out, and is it still accepted if we verify it?
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Validate {}

/// Whether a token is good, and what it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Validity {
    /// Whether it is good.
    pub valid: bool,
    /// What it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claims: Option<Claims>,
}

/// The claims of an access token (contract, "Authentication Pattern").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Claims {
    /// The user.
    pub sub: String,
    /// The tenant.
    pub tenant_id: TenantId,
    /// The roles.
    #[serde(default)]
    pub roles: Vec<String>,
    /// The permissions.
    #[serde(default)]
    pub permissions: Vec<String>,
    /// When it was issued, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iat: Option<i64>,
    /// When it ends, in seconds since 1970; the owner's token of an embedded platform does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exp: Option<i64>,
}

impl Operation for Validate {
    type Output = Validity;
    const SPEC: Spec = Spec::get("auth_validate", "/auth/validate", Effect::Read).titled("Who I am in the current session");
}

/// Lists the permissions and rights that I or another user have.
///
/// Am I allowed to approve this invoice, why is access to the salary file denied, may a trainee see it, what is he
/// permitted or entitled to, and which rights are effective?
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListPermissions {
    /// The caller if absent; others need the right to grant roles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
}

/// What a user may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserPermissions {
    /// The user.
    pub user_id: UserId,
    /// Their roles.
    #[serde(default)]
    pub roles: Vec<String>,
    /// Their permissions, `resource:action`.
    #[serde(default)]
    pub permissions: Vec<String>,
}

impl Operation for ListPermissions {
    type Output = UserPermissions;
    const SPEC: Spec = Spec::get("permissions_list", "/permissions", Effect::Read).titled("Show what I am allowed to do");
}

/// A role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Role {
    /// The role.
    pub role_id: RoleId,
    /// Its name, as users hold it.
    pub name: String,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What it permits.
    #[serde(default)]
    pub permissions: Vec<String>,
    /// When it permits that, in CEL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// When it was created.
    pub created_at: Timestamp,
}

/// Creates a new role: a named group of rights for people.
///
/// We have no profile yet for external auditors who may only view, so define or introduce one, make access for night or
/// seasonal workers, or add a controller who should exist in the system.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct CreateRole {
    /// The role's name.
    #[schemars(length(min = 1, max = 100))]
    pub name: String,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What it permits, such as `task:approve` or `process:*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Vec<String>>,
    /// CEL over user, resource and env; the role counts while true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
}

impl Operation for CreateRole {
    type Output = Role;
    const SPEC: Spec = Spec::post("roles_create", "/roles", Effect::Grant)
        .titled("Create a role or user group")
        .unique(Unique { lister: "roles_list", field: "name", code: "FM-AAS-ROLE-EXISTS" })
        .requires(Permission::ROLE_CREATE)
        .answers(201)
        .id_alias("id");
}

/// Lists the roles, groups and profiles that exist, each with its rights.
///
/// What does an approver include, which access does the manager have, how many are there for a cashier or accountant
/// already, and what could auditors or a lead do?
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct ListRoles {
    /// The name of one role; all if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100))]
    pub name: Option<String>,
    /// How much to answer.
    #[serde(flatten)]
    pub page: PageRequest,
}

impl Operation for ListRoles {
    type Output = Page<Role>;
    const SPEC: Spec = Spec::get("roles_list", "/roles", Effect::Read)
        .titled("All roles and what each may do")
        .requires(Permission::ROLE_VIEW)
        .extension();
}

/// Changes which rights a role has, for its whole group. The list replaces all of them.
///
/// Team leads and approvers should be able to approve, everyone may only read, add that volunteers may edit a process
/// or view more, grant cashiers what they need, interns must not delete, give auditors access to reports, or remove or
/// take the export away from temps.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct AssignPermissions {
    /// The role.
    pub id: RoleId,
    /// All that it permits from now on.
    pub permissions: Vec<String>,
    /// CEL over user, resource and env; the role counts while true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
}

impl Operation for AssignPermissions {
    type Output = Role;
    const SPEC: Spec = Spec::put("roles_assign_permissions", "/roles/{id}/permissions", Effect::Grant)
        .titled("Change what a role is allowed to do")
        .requires(Permission::ROLE_GRANT);
}

/// Gives a service a token of its own; it is not a tool.
///
/// Beyond the contract, and for the owner of the embedded platform alone.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreateServiceToken {
    /// The service's name.
    #[schemars(length(min = 1, max = 100))]
    pub name: String,
    /// What it may do.
    pub permissions: Vec<String>,
    /// The tenant; the owner's own if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<TenantId>,
    /// Seconds until it ends; a day if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60, max = 31_622_400))]
    pub expires_in: Option<u32>,
}

/// A service's token, shown once.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceToken {
    /// The token's id.
    pub token_id: String,
    /// The token.
    pub token: Secret,
    /// When it ends.
    pub expires_at: Timestamp,
}

impl Operation for CreateServiceToken {
    type Output = ServiceToken;
    const SPEC: Spec = Spec::post("service_tokens_create", "/service-tokens", Effect::Grant)
        .titled("Create a service token")
        .internal()
        .extension()
        .answers(201);
}
