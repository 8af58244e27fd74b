//! Logins: how they begin, go on by refresh tokens that are good once, and end.

use rusqlite::OptionalExtension as _;

use super::granted;
use crate::api::Done;
use crate::api::auth::{Login, Logout, Refresh, Tokens, User};
use crate::error::{Error, Kind, Result};
use crate::platform::Platform;
use crate::platform::database::{Scope, Tx};
use crate::platform::http::context::Cx;
use crate::platform::identity::tokens::{self, LIFETIME, Subject, Use};
use crate::platform::identity::{unauthenticated, users};
use crate::platform::keys;

/// Attempts that may fail in a row before an account is locked.
const ATTEMPTS: i64 = 5;
/// How long it is locked, in seconds.
const LOCKED_SECONDS: f64 = 15.0 * 60.0;
/// How long a login lasts without being used, in seconds.
const SESSION_SECONDS: f64 = 30.0 * 24.0 * 3600.0;

pub(super) async fn login(cx: Cx, request: Login) -> Result<Tokens> {
    let attempts = cx.platform.login_attempts();
    if let Some(address) = cx.peer {
        attempts.check(address)?;
    }
    let tenant = request.tenant_id.clone();
    let username = request.username.clone();
    let found = cx.read(move |connection| users::find_by_name(connection, tenant.as_str(), &username)).await?;
    let platform = cx.platform.clone();
    let scope = |user: &str| Scope {
        tenant: request.tenant_id.clone(),
        actor: user.to_owned(),
        recorded_by: user.to_owned(),
        request_id: Some(cx.request_id.clone()),
        correlation_id: cx.correlation_id.clone(),
        mark: None,
    };
    // The attempt is counted before the password is looked at, so that many at once are no more than five either.
    let admitted = match &found {
        None => false,
        Some(user) => {
            let id = user.id.clone();
            platform.database().write(scope(&user.id), move |tx| count_attempt(tx, &id)).await?
        }
    };
    // An unknown or a locked account takes as long as a wrong password, and is told the same.
    let hash = found.as_ref().filter(|_| admitted).map(|user| user.password_hash.clone());
    let good = platform.guard().verify(request.password.expose().to_owned(), hash).await?;
    let Some(user) = found.filter(|_| good) else {
        if let Some(address) = cx.peer {
            attempts.failed(address);
        }
        return Err(unauthenticated());
    };
    let scope = scope(&user.id);
    let signing = platform.clone();
    platform
        .database()
        .write(scope, move |tx| {
            let user = users::find(tx, tx.tenant(), &user.id)?.ok_or_else(unauthenticated)?;
            tx.prepare_cached("UPDATE users SET failures = 0, locked_until = NULL WHERE id = ?1")?.execute([&user.id])?;
            forget_old(tx)?;
            let session = tx.mint("sess");
            tx.prepare_cached("INSERT INTO sessions (id, tenant_id, user_id, created_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)")?
                .execute((&session, tx.tenant(), &user.id, tx.now().millis(), tx.now().plus_seconds(SESSION_SECONDS).millis()))?;
            tx.audit("user.signed_in", "user", &user.id, None)?;
            give(&signing, tx, &session, user)
        })
        .await
}

/// Whether the account takes another attempt; the last one that it takes locks it until a success or the time unlocks it.
fn count_attempt(tx: &mut Tx<'_>, user: &str) -> Result<bool> {
    let now = tx.now();
    let (failures, locked_until): (i64, Option<i64>) = tx
        .prepare_cached("SELECT failures, locked_until FROM users WHERE id = ?1")?
        .query_row([user], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let failures = match locked_until {
        Some(until) if until > now.millis() => return Ok(false),
        Some(_) => 0,
        None => failures,
    } + 1;
    let locked_until = (failures >= ATTEMPTS).then(|| now.plus_seconds(LOCKED_SECONDS).millis());
    tx.prepare_cached("UPDATE users SET failures = ?2, locked_until = ?3 WHERE id = ?1")?.execute((user, failures, locked_until))?;
    if locked_until.is_some() {
        tx.audit("user.attempts_exhausted", "user", user, None)?;
    }
    Ok(true)
}

/// Removes logins that ended.
fn forget_old(tx: &Tx<'_>) -> Result<()> {
    tx.prepare_cached("DELETE FROM sessions WHERE expires_at <= ?1")?.execute([tx.now().millis()])?;
    Ok(())
}

/// The next pair of tokens of a login.
fn give(platform: &Platform, tx: &Tx<'_>, session: &str, user: users::Row) -> Result<Tokens> {
    let permissions: Vec<String> = granted(tx, tx.tenant(), &user)?.into();
    let refresh_token = format!("fmr_{}", keys::random_token()?);
    let expires_at = tx.now().plus_seconds(SESSION_SECONDS).millis();
    tx.prepare_cached("INSERT INTO refresh_tokens (digest, tenant_id, session_id, expires_at) VALUES (?1, ?2, ?3, ?4)")?.execute((
        keys::sha256(refresh_token.as_bytes()),
        tx.tenant(),
        session,
        expires_at,
    ))?;
    tx.prepare_cached("UPDATE sessions SET expires_at = ?2 WHERE id = ?1")?.execute((session, expires_at))?;
    let subject = Subject {
        id: user.id.clone(),
        tenant: tx.tenant().to_owned(),
        roles: user.roles.clone(),
        permissions: permissions.clone(),
        session: Some(session.to_owned()),
        token_id: tx.mint("jti"),
        kind: Use::Access,
    };
    let access_token = tokens::issue(platform, subject, tx.now(), LIFETIME)?;
    let user = User { id: user.id.into(), email: user.username, roles: user.roles, permissions };
    Ok(Tokens { access_token: access_token.into(), refresh_token: refresh_token.into(), expires_in: u64::from(LIFETIME), user })
}

pub(super) async fn refresh(cx: Cx, request: Refresh) -> Result<Tokens> {
    let digest = keys::sha256(request.refresh_token.expose().as_bytes());
    let by_digest = digest.clone();
    let now = cx.now().millis();
    let found = cx
        .read(move |connection| {
            Ok(connection
                .prepare_cached(
                    "SELECT s.tenant_id, s.user_id, s.id FROM refresh_tokens r JOIN sessions s ON s.id = r.session_id
                     WHERE r.digest = ?1 AND r.expires_at > ?2 AND s.revoked_at IS NULL",
                )?
                .query_row((by_digest, now), |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?)))
                .optional()?)
        })
        .await?;
    let (tenant, user, session) = found.ok_or_else(unauthenticated)?;
    let scope = Scope {
        tenant: tenant.into(),
        actor: user.clone(),
        recorded_by: user.clone(),
        request_id: Some(cx.request_id.clone()),
        correlation_id: cx.correlation_id.clone(),
        mark: None,
    };
    let platform = cx.platform.clone();
    let given = cx
        .platform
        .database()
        .write(scope, move |tx| {
            let spent = tx
                .prepare_cached("UPDATE refresh_tokens SET used_at = ?2 WHERE digest = ?1 AND used_at IS NULL")?
                .execute((&digest, tx.now().millis()))?;
            let live = tx.prepare_cached("SELECT 1 FROM sessions WHERE id = ?1 AND revoked_at IS NULL")?.exists([&session])?;
            if !live {
                return Ok(None);
            }
            if spent == 0 {
                // The refresh token was used before: the whole login is revoked.
                revoke(tx, &session)?;
                tx.audit("user.refresh_reused", "user", &user, None)?;
                return Ok(None);
            }
            let user = users::find(tx, tx.tenant(), &user)?.ok_or_else(unauthenticated)?;
            give(&platform, tx, &session, user).map(Some)
        })
        .await?;
    given.ok_or_else(unauthenticated)
}

pub(super) async fn logout(cx: Cx, _: Logout) -> Result<Done> {
    let Some(session) = cx.session.clone() else {
        return Err(Error::new(Kind::Conflict, "FM-AAS-NO-LOGIN", "this token belongs to no login, so there is none to end")
            .hint("The owner's token and service tokens stay valid; a login begins by POST /auth/login."));
    };
    let user = cx.caller.subject.clone();
    cx.write(move |tx| {
        revoke(tx, &session.id)?;
        tx.audit("user.signed_out", "user", &user, None)?;
        Ok(Done::default())
    })
    .await
}

/// Ends all logins of a user.
pub(super) fn revoke_all(tx: &Tx<'_>, user: &str) -> Result<()> {
    tx.prepare_cached("UPDATE sessions SET revoked_at = ?3 WHERE tenant_id = ?1 AND user_id = ?2 AND revoked_at IS NULL")?.execute((
        tx.tenant(),
        user,
        tx.now().millis(),
    ))?;
    Ok(())
}

fn revoke(tx: &Tx<'_>, session: &str) -> Result<()> {
    tx.prepare_cached("UPDATE sessions SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL")?.execute((session, tx.now().millis()))?;
    Ok(())
}
