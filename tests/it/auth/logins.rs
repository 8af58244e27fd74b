//! Logins as people and hosts have them: signed in, renewed, shared by processes, ended. The platform's clock is moved
//! where a token has to end.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Json;
use axum::response::IntoResponse as _;
use flowmaster_mcp::api::auth::Validate;
use flowmaster_mcp::auth::{Caller, Principal as _};
use flowmaster_mcp::client::credentials::login::{Grant, Source, Store};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::home::{ADA, Home, login_of, run, stderr, stdout};
use crate::support::platform::PASSWORD;
use crate::support::standin::StandIn;

#[tokio::test]
async fn a_person_signs_in_looks_and_signs_out() {
    let home = Home::new().await;
    let nobody = home.run(&["whoami"], &[], "").await;
    assert_eq!(nobody.status.code(), Some(2));
    assert!(
        stderr(&nobody).contains("FM-CONFIG-NO-TOKEN") && stderr(&nobody).contains("flowmaster-mcp login --url"),
        "{}",
        stderr(&nobody)
    );

    let signed_in = home.login().await;
    let kept = home.kept();
    let (access, refresh) = (kept["accessToken"].as_str().unwrap().to_owned(), kept["refreshToken"].as_str().unwrap().to_owned());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&home.store().file()), mode(home.store().file().parent().unwrap())), (0o600, 0o700));
    }

    let who = home.run(&["whoami", "--json"], &[("FLOWMASTER_PERMISSIONS_FILTER", "strict")], "").await;
    let told: Value = serde_json::from_slice(&who.stdout).unwrap();
    assert_eq!((&told["username"], &told["tenant"], &told["roles"]), (&json!(ADA), &json!("acme"), &json!(["clerk"])));
    assert_eq!(
        (&told["permissions"], &told["credential"], &told["renewed"]),
        (&json!(["task:view"]), &json!("a stored login"), &json!(true))
    );
    assert!(told["tools"].as_u64().unwrap() < told["toolsInAll"].as_u64().unwrap() && told["until"].is_string(), "{told}");
    let doctor = home.run(&["doctor"], &[("FLOWMASTER_PERMISSIONS_FILTER", "strict")], "").await;
    assert!(stdout(&doctor).contains(&format!("task:view; {} of {} tools", told["tools"], told["toolsInAll"])), "{}", stdout(&doctor));
    let report: Value = serde_json::from_slice(&home.run(&["doctor", "--json"], &[], "").await.stdout).unwrap();
    assert_eq!(report["caller"]["subject"], told["subject"]);

    let trace = [("FLOWMASTER_LOG", "trace")];
    let called = home.run(&["call", "tasks_list"], &trace, "").await;
    assert!(called.status.success(), "{}", stderr(&called));
    let signed_out = home.run(&["logout"], &trace, "").await;
    assert!(signed_out.status.success() && !home.store().exists(), "{}", stderr(&signed_out));
    home.platform.get("/auth/validate", &access).await.refused(401, "FM-AAS-UNAUTHENTICATED");
    assert_eq!(home.run(&["logout"], &[], "").await.status.code(), Some(1), "there is nothing to end");
    for output in [&signed_in, &who, &doctor, &called, &signed_out] {
        let text = format!("{}{}", stdout(output), stderr(output));
        assert!(![PASSWORD, &access, &refresh].iter().any(|secret| text.contains(secret)), "a secret shows: {text}");
    }
}

#[tokio::test]
async fn what_is_missing_or_wrong_at_a_login_is_named() {
    let home = Home::new().await;
    for (arguments, stdin, code) in [
        (&["login"][..], "", "FM-CLI-LOGIN"),
        (&["login", "--user", ADA, "--password-stdin"], PASSWORD, "FM-CLI-LOGIN"),
        (&["login", "--user", ADA, "--tenant", "acme", "--password-stdin"], "", "FM-CLI-LOGIN"),
        (&["login", "--user", ADA, "--tenant", "acme"], PASSWORD, "FM-CLI-LOGIN"),
        (&["login", "--user", ADA, "--tenant", "other", "--password-stdin"], PASSWORD, "FM-MCP-LOGIN-REFUSED"),
        (&["login", "--user", ADA, "--tenant", "acme", "--password-stdin"], "not the password", "FM-MCP-LOGIN-REFUSED"),
    ] {
        let output = home.run(arguments, &[], stdin).await;
        assert!(!output.status.success() && stderr(&output).contains(code), "{arguments:?}: {}", stderr(&output));
        assert!(!stderr(&output).contains("password was") && !stderr(&output).contains("not the password"), "{}", stderr(&output));
    }
    for settings in [[("FLOWMASTER_REFRESH_TOKEN", "r")], [("FLOWMASTER_PASSWORD", "p")]] {
        assert!(stderr(&home.run(&["whoami"], &settings, "").await).contains("FM-CONFIG-LOGIN"));
    }
    assert!(!home.store().exists());
}

#[cfg(unix)]
#[tokio::test]
async fn a_login_that_cannot_be_kept_is_not_made_or_ended_again() {
    use std::os::unix::fs::PermissionsExt as _;
    let platform = StandIn::start(|_| async {
        let user = json!({ "id": "user-1", "email": ADA, "roles": [], "permissions": [] });
        Json(json!({ "accessToken": "given", "refreshToken": "next", "expiresIn": 3600, "user": user })).into_response()
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let store = Store::of_platform(folder.path(), Some(&platform.url));
    let logins = store.file().parent().unwrap().to_owned();
    let asked = || platform.asked().iter().map(|asked| (asked.path.clone(), asked.header("authorization").to_owned())).collect::<Vec<_>>();
    let login = async || {
        let arguments = ["login", "--user", ADA, "--tenant", "acme", "--password-stdin"];
        run(folder.path(), &arguments, &[("FLOWMASTER_URL", &platform.url)], PASSWORD).await
    };

    // A folder that others can look into: found before anybody is signed in.
    std::fs::create_dir(&logins).unwrap();
    std::fs::set_permissions(&logins, std::fs::Permissions::from_mode(0o755)).unwrap();
    let output = login().await;
    assert!(!output.status.success() && stderr(&output).contains("chmod 700"), "{}", stderr(&output));
    assert_eq!(asked(), []);

    // A file that cannot be written, which shows only when there is something to write.
    std::fs::set_permissions(&logins, std::fs::Permissions::from_mode(0o700)).unwrap();
    let name = store.file().file_stem().unwrap().to_str().unwrap().to_owned();
    let in_the_way = store.file().with_file_name(format!(".{name}.new"));
    std::fs::create_dir(&in_the_way).unwrap();
    let output = login().await;
    assert!(!output.status.success() && stderr(&output).contains("FM-MCP-LOGIN-FILE"), "{}", stderr(&output));
    let ended = ("/auth/logout".to_owned(), "Bearer given".to_owned());
    assert_eq!(asked(), [("/auth/login".to_owned(), String::new()), ended]);

    std::fs::remove_dir(&in_the_way).unwrap();
    assert!(login().await.status.success() && store.exists());
    assert_eq!(asked().len(), 3, "a login that is kept goes on");
}

#[tokio::test]
async fn a_login_is_renewed_before_its_end_and_after_it() {
    let home = Home::new().await;
    home.login().await;
    let first = home.kept();

    // Shortly before its end, by this machine's clock.
    let mut due = first.clone();
    due["renewAt"] = json!("2020-01-01T00:00:00.000Z");
    std::fs::write(home.store().file(), due.to_string()).unwrap();
    assert!(home.run(&["call", "auth_validate"], &[], "").await.status.success());
    let second = home.kept();
    assert!(second["refreshToken"] != first["refreshToken"] && second["accessToken"] != first["accessToken"], "the pair is another");

    // The platform says that it has ended, whatever this machine believes.
    home.pass_two_hours();
    assert!(home.run(&["call", "auth_validate"], &[], "").await.status.success());
    assert_ne!(home.kept()["refreshToken"], second["refreshToken"]);

    // A spent token was never sent again: the login lives.
    assert!(home.run(&["whoami"], &[], "").await.status.success());
    // Whoever signs in once more leaves no login behind that nobody uses.
    let replaced = home.kept()["accessToken"].as_str().unwrap().to_owned();
    home.login().await;
    home.platform.get("/auth/validate", &replaced).await.refused(401, "FM-AAS-UNAUTHENTICATED");
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_calls_wait_for_one_renewal() {
    let home = Home::new().await;
    let (access, refresh) = home.pair().await;
    let refresh = refresh.into();
    let store = Store::of_refresh_token(&home.data(), &refresh);
    let source = Source::Given(Box::new(Grant::of_settings(&access.into(), Some(&refresh), None).unwrap()), Some(store.clone()));
    let (login, client, asked) = login_of(&home, source);
    let caller = login.caller().await.unwrap();
    assert_eq!((caller.tenant.as_str(), asked.load(Ordering::SeqCst)), ("acme", 0));
    for round in 1..=3 {
        home.pass_two_hours();
        let caller = login.caller().await.unwrap();
        let calls = (0..50).map(|_| {
            let (client, caller) = (client.clone(), Arc::clone(&caller));
            tokio::spawn(async move { client.send(&caller, &Validate {}).await })
        });
        for answer in join_all(calls).await {
            assert!(answer.unwrap().unwrap().valid);
        }
        assert_eq!(asked.load(Ordering::SeqCst), round, "one renewal a round");
    }

    // A caller who is taken back does not lose the pair that was asked for.
    home.pass_two_hours();
    let caller = login.caller().await.unwrap();
    let before = std::fs::read(store.file()).unwrap();
    let _taken_back = tokio::time::timeout(std::time::Duration::from_micros(500), login.renewed(caller)).await;
    login.close().await;
    assert!(client.send(&login.caller().await.unwrap(), &Validate {}).await.unwrap().valid);
    assert_ne!(std::fs::read(store.file()).unwrap(), before);
}

#[tokio::test]
async fn nobody_elses_token_is_renewed() {
    let home = Home::new().await;
    let (access, refresh) = home.pair().await;
    let grant = Grant::of_settings(&access.clone().into(), Some(&refresh.into()), None).unwrap();
    let (_, client, asked) = login_of(&home, Source::Given(Box::new(grant), None));
    home.pass_two_hours();
    let other = Arc::new(Caller::of_unverified_token(access.into(), None).unwrap());
    assert_eq!(client.send(&other, &Validate {}).await.unwrap_err().code(), "FM-AAS-UNAUTHENTICATED");
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn two_processes_never_spend_the_same_refresh_token() {
    let home = Home::new().await;
    home.login().await;
    let (access, refresh) = home.pair().await;
    let given = [("FLOWMASTER_TOKEN", access.as_str()), ("FLOWMASTER_REFRESH_TOKEN", refresh.as_str())];
    // By the stored login, and by a pair that the host gives to every process it starts.
    for settings in [&[][..], &given] {
        let (mut first, mut second) = (home.host(settings).await, home.host(settings).await);
        for _ in 0..4 {
            home.pass_two_hours();
            let (one, other) = tokio::join!(first.good("auth_validate", json!({})), second.good("auth_validate", json!({})));
            assert_eq!((&one["claims"]["tenantId"], &one["claims"]["sub"]), (&json!("acme"), &other["claims"]["sub"]));
        }
        assert!(first.end().await.success());
        home.pass_two_hours();
        second.good("auth_validate", json!({})).await;
        // A process that starts later has the old pair and goes on with the new one.
        let mut third = home.host(settings).await;
        third.good("auth_validate", json!({})).await;
        home.pass_two_hours();
        third.good("auth_validate", json!({})).await;
        second.good("auth_validate", json!({})).await;
    }
}

#[tokio::test]
async fn a_login_that_was_ended_says_what_to_run_and_goes_on_after_it() {
    let home = Home::new().await;
    home.login().await;
    let mut host = home.host(&[]).await;
    host.good("tasks_list", json!({})).await;
    let access = home.kept()["accessToken"].as_str().unwrap().to_owned();
    assert_eq!(home.platform.post("/auth/logout", &access, json!({})).await.status, 204);
    for _ in 0..2 {
        let told = host.bad("tasks_list", json!({})).await;
        assert!(told.contains("FM-MCP-LOGIN-ENDED") && told.contains("flowmaster-mcp login --url"), "{told}");
        assert!(!told.contains(&access), "{told}");
    }
    let doctor = home.run(&["doctor"], &[], "").await;
    assert!(!doctor.status.success() && stdout(&doctor).contains("FM-MCP-LOGIN-ENDED"), "{}", stdout(&doctor));
    home.login().await;
    host.good("tasks_list", json!({})).await;

    assert!(home.run(&["logout"], &[], "").await.status.success());
    let told = host.bad("tasks_list", json!({})).await;
    assert!(told.contains("FM-MCP-LOGIN-ENDED"), "the owner of nothing is not called instead: {told}");

    // A token alone is not renewed, and its end is said as clearly.
    let (access, _) = home.pair().await;
    let mut host = home.host(&[("FLOWMASTER_TOKEN", access.as_str())]).await;
    host.good("auth_validate", json!({})).await;
    home.pass_two_hours();
    let told = host.bad("auth_validate", json!({})).await;
    assert!(told.contains("FM-MCP-LOGIN-ENDED") && told.contains("FLOWMASTER_TOKEN"), "{told}");
}

#[tokio::test]
async fn a_password_signs_in_when_it_is_needed_and_again_when_the_login_was_ended() {
    let home = Home::new().await;
    let settings = [("FLOWMASTER_USERNAME", ADA), ("FLOWMASTER_PASSWORD", PASSWORD), ("FLOWMASTER_TENANT", "acme")];
    let mut host = home.host(&settings).await;
    host.request("server/discover", json!({})).await;
    let who = host.good("auth_validate", json!({})).await;
    assert_eq!(who["claims"]["tenantId"], "acme");
    home.platform.user("acme", "auditor@acme.example", &[], &["audit:view"]).await;
    let rows = async |action: &str| {
        let auditor = home.platform.login("acme", "auditor@acme.example").await;
        let trail = home.platform.get("/audit-logs?limit=200", &auditor).await.ok();
        let is_of_ada = |row: &&Value| row["action"] == action && row["actor"] == who["claims"]["sub"];
        trail["items"].as_array().unwrap().iter().filter(is_of_ada).count()
    };
    home.pass_two_hours();
    host.good("auth_validate", json!({})).await;
    // The tool ends the login; the next call begins another.
    assert_ne!(host.call("auth_logout", json!({})).await["isError"], true);
    host.good("auth_validate", json!({})).await;
    assert!(host.end().await.success());
    assert!(!home.store().exists(), "no login of a password is kept");
    assert_eq!((rows("user.signed_in").await, rows("user.signed_out").await), (2, 2), "none is left open either");

    // A wrong password is tried once: more attempts would lock the account.
    let wrong = [("FLOWMASTER_USERNAME", ADA), ("FLOWMASTER_PASSWORD", "not the password"), ("FLOWMASTER_TENANT", "acme")];
    let mut host = home.host(&wrong).await;
    for _ in 0..8 {
        let told = host.bad("auth_validate", json!({})).await;
        assert!(told.contains("FM-MCP-LOGIN-REFUSED") && !told.contains("not the password"), "{told}");
    }
    home.pair().await;
}

#[tokio::test]
async fn a_platform_that_is_away_does_not_keep_a_login_here() {
    let home = Home::new().await;
    home.login().await;
    let (data, store, url) = (home.data(), home.store(), home.url());
    let settings = [("FLOWMASTER_URL", url.as_str())];
    home.platform.running.shutdown().await;
    let who = run(&data, &["whoami"], &settings, "").await;
    assert!(!who.status.success() && stdout(&who).contains(ADA) && stderr(&who).contains("FM-MCP-UNREACHABLE"), "{}", stderr(&who));
    let signed_out = run(&data, &["logout"], &settings, "").await;
    assert!(signed_out.status.success() && stderr(&signed_out).contains("could not be told"), "{}", stderr(&signed_out));
    assert!(!store.exists());
}

#[tokio::test]
async fn a_user_signs_in_to_the_embedded_platform() {
    let home = Home::new().await;
    // The platform's own folder: without a URL its owner calls, until a user signs in.
    let data = home.platform.folder.path().join("data");
    let who = async || -> Value {
        let output = run(&data, &["call", "auth_validate"], &[], "").await;
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", stderr(&output)))
    };
    assert_eq!(who().await["claims"]["sub"], "user-owner");
    let signed_in = run(&data, &["login", "--user", ADA, "--tenant", "acme", "--password-stdin"], &[], PASSWORD).await;
    assert!(signed_in.status.success(), "{}", stderr(&signed_in));
    assert_eq!(who().await["claims"]["tenantId"], "acme");
    let refused = run(&data, &["call", "audit_query"], &[], "").await;
    assert!(stderr(&refused).contains("audit:view"), "{}", stderr(&refused));
    assert!(run(&data, &["logout"], &[], "").await.status.success());
    assert_eq!(who().await["claims"]["sub"], "user-owner");
}

#[tokio::test]
async fn the_tour_shows_a_user_what_it_sees_elsewhere_and_what_it_may_not() {
    let home = Home::new().await;
    home.platform
        .post(
            "/tasks",
            &home.platform.signed_in("acme", "boss@acme.example", &["*"]).await,
            json!({
                "title": "Check the invoice", "assignee": "clerk",
            }),
        )
        .await
        .ok();
    let tasks = async || {
        let boss = home.platform.login("acme", "boss@acme.example").await;
        home.platform.get("/tasks", &boss).await.ok()["items"].as_array().unwrap().len()
    };
    let before = tasks().await;
    home.login().await;
    let (access, _) = home.pair().await;
    for settings in [&[][..], &[("FLOWMASTER_PERMISSIONS_FILTER", "strict")], &[("FLOWMASTER_TOKEN", access.as_str())]] {
        let output = home.run(&["tour"], settings, "").await;
        let story = stdout(&output);
        assert!(output.status.success(), "{story}{}", stderr(&output));
        for told in
            ["may: task:view", "Check the invoice", "task:approve", "process:publish", "execution:start", "event:view", "audit:view"]
        {
            assert!(story.contains(told), "{told}: {story}");
        }
        let turned_away = story.matches("  refused\n").count() + story.matches("  not permitted\n").count();
        assert_eq!(turned_away, 5, "{story}");
        assert!(!story.contains(&access), "{story}");
    }
    assert_eq!(tasks().await, before, "nothing was changed");
}

#[tokio::test]
async fn the_tour_tells_its_story_elsewhere_only_where_somebody_says_yes() {
    let home = Home::new().await;
    let boss = home.platform.signed_in("acme", "boss@acme.example", &["*"]).await;
    let processes = async || home.platform.get("/audit-logs?action=process.created", &boss).await.ok()["items"].as_array().unwrap().len();
    let settings = [("FLOWMASTER_TOKEN", boss.as_str())];
    let looked = home.run(&["tour"], &settings, "").await;
    assert!(looked.status.success() && stdout(&looked).contains("tour --yes"), "{}{}", stdout(&looked), stderr(&looked));
    assert_eq!(processes().await, 0);
    let told = home.run(&["tour", "--yes"], &settings, "").await;
    assert!(told.status.success() && stdout(&told).contains("completed at"), "{}{}", stdout(&told), stderr(&told));
    assert_eq!(processes().await, 1);
}
