//! Users of a tenant, beyond the contract, which has no operation for them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::User;
use crate::api::ids::{TenantId, UserId};
use crate::api::{Done, Effect, Operation, Page, PageRequest, Permission, Secret, Spec};

/// Creates a user of a tenant; it is not a tool.
///
/// Beyond the contract, which has no operation for users.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreateUser {
    /// The user's name, an e-mail address.
    #[schemars(length(min = 1, max = 254))]
    pub username: String,
    /// The password, 12 characters or more.
    #[schemars(length(min = 12, max = 1024))]
    pub password: Secret,
    /// The tenant; the caller's own if absent. Another takes the owner of the platform.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<TenantId>,
    /// The names of the roles held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<String>>,
    /// Permissions granted directly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Vec<String>>,
}

impl std::fmt::Debug for CreateUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreateUser").field("username", &self.username).field("tenant_id", &self.tenant_id).finish_non_exhaustive()
    }
}

impl Operation for CreateUser {
    type Output = User;
    const SPEC: Spec = Spec::post("users_create", "/users", Effect::Grant)
        .titled("Create a user")
        .requires(Permission::USER_CREATE)
        .internal()
        .extension()
        .answers(201);
}

/// Lists the users of the system: everybody who works here, with their accounts.
///
/// How many accounts do we have, give me all people of the tenant, what is the user id or email of a colleague by name,
/// does a former one still have a login already, and who is there as manager or approver by role?
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListUsers {
    /// The whole name of one user, an e-mail address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 254))]
    pub username: Option<String>,
    /// How their names begin.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 254))]
    pub starts_with: Option<String>,
    /// The tenant; the caller's own if absent. Another takes the owner of the platform.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<TenantId>,
    /// The page.
    #[serde(flatten)]
    pub page: PageRequest,
}

impl Operation for ListUsers {
    type Output = Page<User>;
    const SPEC: Spec = Spec::get("users_list", "/users", Effect::Read)
        .titled("Look up a user account, who can log in")
        .requires(Permission::USER_VIEW)
        .operators(&["tenantId"])
        .extension()
        .essential();
}

/// Reads one user's account, for the person who is asked whether it may be changed; it is not a tool.
///
/// Beyond the contract.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct GetUser {
    /// The user.
    pub id: UserId,
}

impl Operation for GetUser {
    type Output = User;
    const SPEC: Spec =
        Spec::get("users_get", "/users/{id}", Effect::Read).titled("Show a user").requires(Permission::USER_VIEW).internal().extension();
}

/// Gives a user roles or takes them away. The list replaces the old ones.
///
/// She was promoted to head or moves into the warehouse, make him an approver or auditor, the intern becomes a clerk,
/// set the colleague up as admin or manager, or he no longer works as one.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AssignRoles {
    /// The user.
    pub id: UserId,
    /// Names of all roles held from now on.
    #[schemars(length(max = 100))]
    pub roles: Vec<String>,
    /// The tenant; the caller's own if absent. Another takes the owner of the platform.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<TenantId>,
}

impl Operation for AssignRoles {
    type Output = User;
    const SPEC: Spec = Spec::put("users_assign_roles", "/users/{id}/roles", Effect::Grant)
        .titled("Give a user account roles or take them away")
        .requires(Permission::ROLE_GRANT)
        .operators(&["tenantId"])
        .extension();
}

/// Sets a user's password and ends the user's logins; it is not a tool.
///
/// Beyond the contract.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SetPassword {
    /// The user.
    pub id: UserId,
    /// The new password, 12 characters or more.
    #[schemars(length(min = 12, max = 1024))]
    pub password: Secret,
    /// The tenant; the caller's own if absent. Another takes the owner of the platform.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<TenantId>,
}

impl std::fmt::Debug for SetPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SetPassword").field("id", &self.id).field("tenant_id", &self.tenant_id).finish_non_exhaustive()
    }
}

impl Operation for SetPassword {
    type Output = Done;
    const SPEC: Spec = Spec::put("users_set_password", "/users/{id}/password", Effect::Grant)
        .titled("Set a user's password")
        .requires(Permission::USER_UPDATE)
        .internal()
        .extension()
        .answers(204);
}
