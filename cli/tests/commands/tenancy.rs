//! Organizations, spaces, users, roles, quotas, passwords.

use crate::Developer;
use serde_json::json;

fn sent(developer: &Developer, line: &str) -> usize {
    developer.requests().iter().filter(|request| request.starts_with(line)).count()
}

#[test]
fn organizations_and_spaces_are_made_shown_renamed_and_deleted() {
    let developer = Developer::new();
    assert_eq!(developer.ok(&["orgs"]), "name\nmain\n");
    let made = developer.ok(&["create-org", "second", "-q", "default"]);
    assert_eq!(made, "Making organization second ...\nOK\n`cupola target -o second` works in it\n");
    assert_eq!(sent(&developer, "POST /v3/organization_quotas/q1/relationships/organizations"), 1);
    assert_eq!(
        developer.refused(&["create-org", "third", "-q", "huge"]),
        "there is no quota \"huge\" here; `cupola quotas` lists what there is"
    );
    assert_eq!(developer.ok(&["orgs"]), "name\nmain\nsecond\n", "nothing was made without its quota");
    let shown = developer.ok(&["org", "main"]);
    for line in [
        "name       main\n",
        "suspended  no\n",
        "quota      default\n",
        "spaces     dev\n",
        "memory     192M\n",
    ] {
        assert!(shown.contains(line), "{shown}");
    }
    assert_eq!(developer.ok(&["org", "main", "--guid"]), "o1\n");
    developer.ok(&["suspend-org", "second"]);
    assert_eq!(developer.ok(&["orgs"]), "name\nmain\nsecond   suspended\n");
    developer.ok(&["activate-org", "second"]);
    // Renaming what is targeted renames the target.
    developer.ok(&["rename-org", "main", "first"]);
    assert!(developer.ok(&["target"]).contains("org    first\n"));
    developer.ok(&["create-space", "prod"]);
    assert_eq!(developer.ok(&["spaces"]), "name\ndev\nprod\n");
    developer.ok(&["create-space", "other", "-o", "second"]);
    assert_eq!(developer.ok(&["spaces"]), "name\ndev\nprod\n");
    assert!(developer.ok(&["switch-space", "prod"]).contains("space  prod\n"));
    developer.ok(&["rename-space", "prod", "live"]);
    assert!(developer.ok(&["target"]).contains("space  live\n"));
    assert!(developer.ok(&["space", "live"]).contains("quota      (none)\n"));
    assert_eq!(
        developer.refused(&["delete-space", "live"]),
        "there is no terminal to ask for the confirmation: give it with -f"
    );
    developer.ok(&["delete-space", "live", "-f"]);
    assert!(developer.ok(&["target"]).contains("space  (none)\n"));
    developer.ok(&["delete-org", "first", "-f"]);
    assert!(developer.ok(&["target"]).contains("org    (none)\n"));
    let none = developer.refused(&["target", "-o", "first"]);
    assert!(none.contains("there is no organization \"first\" here"), "{none}");
}

#[test]
fn users_get_roles_and_lose_them() {
    let developer = Developer::new();
    let said =
        developer.run_with(&["create-user", "ann", "--password-stdin"], &developer.api(), "a long one\n");
    assert_eq!(said.status, 0, "{said:?}");
    assert!(said.out.contains("cupola set-space-role ann ORG SPACE SpaceDeveloper"), "{said:?}");
    assert_eq!(developer.fake.platform().tenants.uaa["password"], "a long one");
    developer.ok(&["add-user", "root", "a long one", "--admin"]);
    let groups = developer.fake.platform().tenants.uaa["groups"].clone();
    assert_eq!(groups, json!([{"display": "cloud_controller.admin"}]));
    assert!(developer.refused(&["create-user", "bob", "short"]).contains("at least 8 characters"));
    let asked = developer.refused(&["create-user", "bob"]);
    assert_eq!(asked, "there is no terminal to ask for the new password: give it with --password-stdin");
    let users = developer.ok(&["users"]);
    assert!(users.contains("admin") && users.contains("ann") && !users.contains("bob"), "{users}");

    developer.ok(&["set-space-role", "ann", "main", "dev", "SpaceDeveloper"]);
    // Again: it is so already.
    developer.ok(&["set-space-role", "ann", "main", "dev", "spacedeveloper"]);
    developer.ok(&["set-org-role", "ann", "main", "OrgManager"]);
    assert_eq!(developer.ok(&["space-users", "main", "dev"]), "name   roles\nann    SpaceDeveloper\n");
    assert_eq!(developer.ok(&["org-users", "main"]), "name   roles\nann    OrgUser, OrgManager\n");
    assert_eq!(developer.ok(&["org-users"]), developer.ok(&["org-users", "main"]));
    let unknown = developer.run(&["set-org-role", "ann", "main", "King"]);
    assert_eq!(unknown.status, 2, "{unknown:?}");
    assert!(unknown.err.contains("OrgManager, OrgAuditor, BillingManager, OrgUser"), "{unknown:?}");
    assert!(developer.refused(&["set-org-role", "bob", "main", "OrgUser"]).contains("No user exists"));

    developer.ok(&["unset-space-role", "ann", "main", "dev", "SpaceDeveloper"]);
    developer.ok(&["unset-org-role", "ann", "main", "OrgManager"]);
    assert_eq!(developer.ok(&["space-users", "main", "dev"]), "name   roles\n");
    assert_eq!(developer.ok(&["org-users", "main"]), "name   roles\nann    OrgUser\n");
    developer.ok(&["delete-user", "ann", "-f"]);
    let requests = developer.requests();
    let deleted: Vec<_> = requests.iter().filter(|line| line.starts_with("DELETE")).rev().take(2).collect();
    assert!(
        deleted[1].starts_with("DELETE /v3/users/") && deleted[0].starts_with("DELETE /Users/"),
        "{deleted:?}"
    );
    assert!(developer.refused(&["delete-user", "ann", "-f"]).contains("there is no user \"ann\" here"));
}

#[test]
fn a_new_password_needs_the_old_one_and_keeps_the_login() {
    let developer = Developer::new();
    let change = |input: &str| developer.run_with(&["passwd", "--password-stdin"], &developer.api(), input);
    let wrong = change("wrong\nanother one\n");
    assert_eq!((wrong.status, wrong.err.as_str()), (1, "FAILED\nOld password is incorrect\n"), "{wrong:?}");
    let lines = change("right\n");
    assert!(lines.err.contains("has 1 lines and should have 2"), "{lines:?}");
    let good = change("right\nanother one\n");
    assert_eq!(good.status, 0, "{good:?}");
    // Its tokens ended; the new ones are there already.
    developer.ok(&["apps"]);
    assert_eq!(developer.fake.platform().tenants.password, "another one");
    developer.refused(&["login", "-u", "admin", "-p", "right"]);
    // For somebody else no old one is needed, nor known.
    developer.ok(&["add-user", "ann", "a long one"]);
    let said = developer.run_with(
        &["passwd", "--user", "ann", "--password-stdin"],
        &developer.api(),
        "given by the admin\n",
    );
    assert_eq!(said.status, 0, "{said:?}");
}

#[test]
fn quotas_are_made_changed_applied_and_shown() {
    let developer = Developer::new();
    developer.ok(&[
        "create-quota",
        "small",
        "-m",
        "2G",
        "-i",
        "512M",
        "-a",
        "10",
        "-r",
        "-1",
        "--disallow-paid-service-plans",
    ]);
    let made = developer.fake.platform().tenants.all["organization_quotas"][1].clone();
    assert_eq!(
        made["apps"],
        json!({"total_memory_in_mb": 2048, "per_process_memory_in_mb": 512, "total_instances": 10}),
        "what is not said is not sent"
    );
    assert_eq!(made["routes"], json!({"total_routes": null}));
    let table = developer.ok(&["quotas"]);
    assert!(table.starts_with("name      total memory   instance memory   instances   routes"), "{table}");
    assert!(table.contains("small     2048M          512M              10          unlimited"), "{table}");
    let shown = developer.ok(&["org-quota", "small"]);
    assert!(
        shown.contains("total memory     2048M\n") && shown.contains("paid plans       not allowed\n"),
        "{shown}"
    );
    developer.ok(&["update-quota", "small", "-n", "tiny", "-m", "-1"]);
    let changed = developer.fake.platform().tenants.all["organization_quotas"][1].clone();
    assert_eq!((&changed["name"], &changed["apps"]["total_memory_in_mb"]), (&json!("tiny"), &json!(null)));
    assert_eq!(changed["apps"]["total_instances"], 10);
    developer.ok(&["set-quota", "main", "tiny"]);
    let path = format!(
        "POST /v3/organization_quotas/{}/relationships/organizations",
        changed["guid"].as_str().unwrap()
    );
    assert_eq!(sent(&developer, &path), 1);
    developer.ok(&["delete-quota", "tiny", "-f"]);
    assert!(developer.refused(&["quota", "tiny"]).contains("there is no quota \"tiny\" here"));
    let bad = developer.run(&["create-quota", "bad", "-m", "lots"]);
    assert_eq!(bad.status, 2, "{bad:?}");

    developer.ok(&["create-space-quota", "share", "-m", "1G"]);
    assert!(developer.ok(&["space-quotas"]).contains("share   1024M"));
    developer.ok(&["set-space-quota", "dev", "share"]);
    developer.ok(&["unset-space-quota", "dev", "share"]);
    let guid = developer.fake.platform().tenants.all["space_quotas"][0]["guid"].clone();
    let path = format!("/v3/space_quotas/{}/relationships/spaces", guid.as_str().unwrap());
    assert_eq!(sent(&developer, &format!("POST {path}")), 1);
    assert_eq!(sent(&developer, &format!("DELETE {path}/s1")), 1);
    developer.ok(&["delete-space-quota", "share", "-f"]);
    assert_eq!(developer.fake.platform().tenants.all["space_quotas"], Vec::<serde_json::Value>::new());
}
