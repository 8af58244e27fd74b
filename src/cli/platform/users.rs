//! `platform users`: the users of the embedded platform, as its owner manages them.

use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use crate::api::auth::{AssignRoles, CreateUser, ListUsers, SetPassword, User};
use crate::api::ids::TenantId;
use crate::api::{PageRequest, Secret};
use crate::auth::{Caller, Credential, OWNER_TENANT};
use crate::cli::Outcome;
use crate::cli::password;
use crate::cli::setup::connection::Connection;
use crate::cli::terminal::{Paint, is_attended, plain, say, tell};
use crate::config::Config;
use crate::error::{Error, Kind, Result};

/// Pages of users that are read at most.
const MAX_PAGES: usize = 500;

/// What is done. The tenant is `--tenant`, else the owner's own.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Creates a user; the password is asked for on the terminal.
    Create {
        /// The user's name, an e-mail address.
        name: String,
        /// A role that the user holds; may be given several times.
        #[arg(long, value_name = "ROLE")]
        role: Vec<String>,
        /// A permission granted directly, such as task:view; may be given several times.
        #[arg(long, value_name = "PERMISSION")]
        permission: Vec<String>,
        /// Reads the password from stdin instead of asking for it.
        #[arg(long)]
        password_stdin: bool,
    },
    /// Lists the users with their roles and permissions.
    List {
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Sets the roles that a user holds, in place of those held before.
    SetRole {
        /// The user's name or id.
        user: String,
        /// The roles.
        #[arg(required_unless_present = "none", conflicts_with = "none")]
        roles: Vec<String>,
        /// Takes all roles away.
        #[arg(long)]
        none: bool,
    },
    /// Sets a user's password and ends the user's logins; the password is asked for on the terminal.
    SetPassword {
        /// The user's name or id.
        user: String,
        /// Reads the password from stdin instead of asking for it.
        #[arg(long)]
        password_stdin: bool,
    },
}

/// The platform as its owner sees one tenant of it.
struct Owner<'c> {
    connection: &'c Connection,
    caller: Arc<Caller>,
    tenant: TenantId,
}

pub(super) async fn run(arguments: Arguments, config: &Config) -> Result<Outcome> {
    if let Some(url) = &config.url {
        return Err(Error::configuration(
            Kind::Invalid,
            "FM-CLI-USERS",
            format!("the users of {url} are managed there: this command is for the embedded platform"),
        )
        .hint("Leave FLOWMASTER_URL out to manage the embedded platform's users."));
    }
    let tenant = TenantId::from(config.tenant.as_deref().unwrap_or(OWNER_TENANT));
    // A password is read before anything is opened.
    let action = Prepared::new(arguments.action, &tenant)?;
    let connection = Connection::to_sign_in(config)?;
    let owner = Owner { connection: &connection, caller: Arc::new(Caller::owner(Credential::Owner)), tenant };
    let done = owner.run(action).await;
    connection.close().await;
    done
}

/// What is done, with the password where it takes one.
enum Prepared {
    Create { name: String, roles: Vec<String>, permissions: Vec<String>, password: SecretString },
    List { json: bool },
    SetRole { user: String, roles: Vec<String> },
    SetPassword { user: String, password: SecretString },
}

impl Prepared {
    fn new(action: Action, tenant: &TenantId) -> Result<Self> {
        Ok(match action {
            Action::Create { name, role, permission, password_stdin } => {
                let password = chosen(password_stdin, &format!("New password of {} of {tenant}", plain(&name)))?;
                Self::Create { name, roles: role, permissions: permission, password }
            }
            Action::List { json } => Self::List { json },
            Action::SetRole { user, roles, .. } => Self::SetRole { user, roles },
            Action::SetPassword { user, password_stdin } => {
                let password = chosen(password_stdin, &format!("New password of {} of {tenant}", plain(&user)))?;
                Self::SetPassword { user, password }
            }
        })
    }
}

fn chosen(from_stdin: bool, what: &str) -> Result<SecretString> {
    if from_stdin {
        return password::from_stdin();
    }
    if !is_attended() {
        return Err(password::missing("a terminal to ask for the password", "--password-stdin"));
    }
    password::new_from_terminal(what)
}

impl Owner<'_> {
    async fn run(&self, action: Prepared) -> Result<Outcome> {
        let tenant_id = Some(self.tenant.clone());
        let good = |word: &str| Paint.good(word);
        match action {
            Prepared::Create { name, roles, permissions, password } => {
                let request = CreateUser {
                    username: name,
                    password: Secret::from(password.expose_secret().to_owned()),
                    tenant_id,
                    roles: Some(roles),
                    permissions: Some(permissions),
                };
                let user = self.connection.client.send(&self.caller, &request).await?;
                say(format_args!("{} {}", good("Created"), self.line(&user)));
            }
            Prepared::List { json: true } => {
                say(json!({ "tenant": self.tenant, "items": self.users().await? }));
            }
            Prepared::List { json: false } => self.list(&self.users().await?),
            Prepared::SetRole { user, roles } => {
                let request = AssignRoles { id: self.find(&user).await?.id, roles, tenant_id };
                let user = self.connection.client.send(&self.caller, &request).await?;
                say(format_args!("{} {}", good("Set:"), self.line(&user)));
            }
            Prepared::SetPassword { user, password } => {
                let user = self.find(&user).await?;
                let password = Secret::from(password.expose_secret().to_owned());
                let request = SetPassword { id: user.id.clone(), password, tenant_id };
                self.connection.client.send(&self.caller, &request).await?;
                let name = plain(&user.email);
                say(format_args!("{} the password of {name} of {}; the logins of {name} have ended", good("Set"), self.tenant));
            }
        }
        Ok(Outcome::Done)
    }

    fn list(&self, users: &[User]) {
        for user in users {
            say(self.line(user));
        }
        if users.is_empty() {
            tell(format_args!("There are no users in {}; `flowmaster-mcp platform users create NAME` creates one.", self.tenant));
        }
    }

    /// A user in one line.
    fn line(&self, user: &User) -> String {
        let all = |names: &[String], none: &str| if names.is_empty() { none.to_owned() } else { names.join(", ") };
        let (roles, may) = (all(&user.roles, "no roles"), all(&user.permissions, "nothing"));
        plain(&format!("{} ({}) of {}: {roles}; may: {may}", user.email, user.id, self.tenant))
    }

    async fn users(&self) -> Result<Vec<User>> {
        let mut users = Vec::new();
        let mut page = PageRequest { limit: Some(200), cursor: None };
        for _ in 0..MAX_PAGES {
            let request = ListUsers { username: None, starts_with: None, tenant_id: Some(self.tenant.clone()), page: page.clone() };
            let found = self.connection.client.send(&self.caller, &request).await?;
            users.extend(found.items);
            match found.next_cursor {
                Some(cursor) => page.cursor = Some(cursor),
                None => break,
            }
        }
        Ok(users)
    }

    /// The user of a name or an id.
    async fn find(&self, wanted: &str) -> Result<User> {
        let users = self.users().await?;
        let name = wanted.trim().to_lowercase();
        if let Some(user) = users.iter().find(|user| user.id.as_str() == wanted || user.email == name) {
            return Ok(user.clone());
        }
        let names = users.iter().flat_map(|user| [user.email.as_str(), user.email.split('@').next().unwrap_or_default()]);
        let error = Error::new(Kind::NotFound, "FM-CLI-NO-USER", format!("there is no user {} in {}", plain(wanted), self.tenant));
        let meant = crate::api::near::near(wanted, names);
        Err(match users.iter().find(|user| meant.iter().any(|name| user.email.starts_with(*name))) {
            Some(user) => error.hint(format!("Did you mean {}?", plain(&user.email))),
            None => error.hint("`flowmaster-mcp platform users list` lists them; --tenant names another tenant."),
        })
    }
}
