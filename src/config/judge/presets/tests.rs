//! Issuers that cannot be right: each is named, and so is what was most likely meant.

use crate::config::{Config, ConfigErrors};

const TENANT: &str = "11111111-2222-3333-4444-555555555555";

fn load(provider: &str, tail: &str) -> Result<Config, ConfigErrors> {
    let client = if provider.contains("client_id") { "" } else { "client_id = \"app\"\n" };
    let text = format!(
        "public_url = \"https://app.example.com\"\nsecrets = [\"0123456789abcdef0123456789abcdef\"]\n\
         [[upstream]]\nurl = \"http://127.0.0.1:3000\"\n[[provider]]\n{client}{provider}\n{tail}"
    );
    let file = tempfile::NamedTempFile::new().expect("file");
    std::fs::write(file.path(), text).expect("write");
    Config::load(Some(file.path()), &[])
}

fn entry(preset: &str, issuer: &str, more: &str) -> String {
    format!("provider = \"{preset}\"\nissuer = \"{}\"\n{more}", issuer.replace("TENANT", TENANT))
}

fn refused(provider: &str, key: &str) -> String {
    let errors = load(provider, "").err().unwrap_or_else(|| panic!("taken: {provider}")).0;
    let found = errors.iter().map(ToString::to_string).find(|error| error.contains(&format!("{key}: ")));
    found.unwrap_or_else(|| panic!("no error at {key} of {provider}: {errors:?}"))
}

fn warnings(provider: &str, tail: &str) -> Vec<String> {
    load(provider, tail).unwrap_or_else(|error| panic!("{provider}\n{error}")).warnings
}

#[test]
fn what_the_products_documents_say_is_taken_without_a_word() {
    for (preset, issuer) in [
        ("generic", "https://login.example.com"),
        ("keycloak", "https://kc.example.com/realms/r"),
        ("keycloak", "https://kc.example.com/auth/realms/r"),
        ("okta", "https://company.okta.com"),
        ("okta", "https://company.okta.com/oauth2/default"),
        ("okta", "https://id.example.com/oauth2/aus1"),
        ("entra", "https://login.microsoftonline.com/TENANT/v2.0"),
        ("entra", "https://login.microsoftonline.us/TENANT/v2.0"),
        ("entra", "https://TENANT.ciamlogin.com/TENANT/v2.0"),
        ("entra-v1", "https://sts.windows.net/TENANT/"),
        ("auth0", "https://company.eu.auth0.com/"),
        ("auth0", "https://company.eu.auth0.com"),
        ("auth0", "https://id.example.com/"),
        ("google", "https://accounts.google.com"),
        ("cognito", "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbCdEf"),
        ("gitlab", "https://gitlab.com"),
        ("gitlab", "https://example.com/gitlab"),
        ("authentik", "https://ak.example.com/application/o/app/"),
        ("zitadel", "https://company.zitadel.cloud"),
        ("dex", "https://dex.example.com/dex"),
    ] {
        assert_eq!(warnings(&entry(preset, issuer, ""), ""), [""; 0], "{preset} {issuer}");
    }
}

#[test]
fn an_issuer_that_cannot_be_right_is_refused_with_what_was_meant() {
    let meant_v2 = format!("https://login.microsoftonline.com/{TENANT}/v2.0\"");
    let meant_v1 = format!("https://sts.windows.net/{TENANT}/\"");
    for (preset, issuer, meant) in [
        ("okta", "https://company-admin.okta.com", "write \"https://company.okta.com\""),
        ("generic", "https://company-admin.okta.com", "write \"https://company.okta.com\""),
        ("okta", "https://company.okta.com/oauth2/default/", "/oauth2/default\""),
        ("okta", "https://company.okta.com/oauth2/v1", "https://company.okta.com\", or"),
        ("okta", "https://company.okta.com/app/UserHome", "https://company.okta.com\", or"),
        ("entra", "https://login.microsoftonline.com/TENANT", &meant_v2),
        ("entra", "https://login.microsoftonline.com/TENANT/", &meant_v2),
        ("entra", "https://login.microsoftonline.com/TENANT/v2.0/", &meant_v2),
        ("entra", "https://login.microsoftonline.com/TENANT/oauth2/v2.0", &meant_v2),
        ("entra", "https://sts.windows.net/TENANT/", "or set `provider = \"entra-v1\"`"),
        ("generic", "https://login.microsoftonline.com/TENANT", &meant_v2),
        ("entra", "https://login.microsoftonline.com/company.onmicrosoft.com/v2.0", "Directory (tenant) ID"),
        ("entra", "https://login.microsoftonline.com/consumers/v2.0", "9188040d-6c67-4c5b-b112-36a304b66dad"),
        ("entra", "https://portal.azure.com", "write \"https://login.microsoftonline.com/TENANT/v2.0\""),
        ("entra", "https://portal.azure.com/TENANT", &meant_v2),
        ("entra", "http://login.microsoftonline.com/TENANT/v2.0", &meant_v2),
        ("entra", "http://login.microsoftonline.com/TENANT", &meant_v2),
        ("okta", "http://company.okta.com", "write \"https://company.okta.com\""),
        ("entra-v1", "https://login.microsoftonline.com/TENANT/v2.0", &meant_v1),
        ("entra-v1", "https://login.microsoftonline.com/TENANT", &meant_v1),
        ("entra-v1", "https://sts.windows.net/TENANT", &meant_v1),
        ("google", "https://google.com", "write \"https://accounts.google.com\""),
        ("google", "https://accounts.google.com/o/oauth2", "write \"https://accounts.google.com\""),
        (
            "cognito",
            "https://company.auth.eu-west-1.amazoncognito.com",
            "write \"https://cognito-idp.eu-west-1.amazonaws.com/POOL\"",
        ),
        ("cognito", "https://cognito-idp.eu-west-1.amazonaws.com", "amazonaws.com/POOL\""),
        ("cognito", "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_A/", "/eu-west-1_A\""),
        ("keycloak", "https://kc.example.com", "write \"https://kc.example.com/realms/REALM\""),
        ("keycloak", "https://kc.example.com/auth", "write \"https://kc.example.com/auth/realms/REALM\""),
        ("keycloak", "https://kc.example.com/admin/master/console", "write \"https://kc.example.com/realms/REALM\""),
        ("keycloak", "https://kc.example.com/realms/r/", "write \"https://kc.example.com/realms/r\""),
        ("keycloak", "https://kc.example.com/auth/realms/r/account", "write \"https://kc.example.com/auth/realms/r\""),
        ("gitlab", "https://gitlab.com/company", "write \"https://gitlab.com\""),
        ("gitlab", "https://git.example.com/oauth", "write \"https://git.example.com\""),
        (
            "authentik",
            "https://ak.example.com/application/o/app",
            "write \"https://ak.example.com/application/o/app/\"",
        ),
        ("authentik", "https://ak.example.com", "write \"https://ak.example.com/application/o/SLUG/\""),
        ("zitadel", "https://company.zitadel.cloud/ui/console", "write \"https://company.zitadel.cloud\""),
        ("auth0", "https://company.auth0.com/userinfo", "write \"https://company.auth0.com\""),
    ] {
        let error = refused(&entry(preset, issuer, ""), "provider.issuer");
        assert!(error.contains(meant), "{preset} {issuer}: {error}");
    }
}

#[test]
fn a_preset_that_does_not_fit_the_host_is_named() {
    for (preset, issuer, named) in [
        ("generic", "https://company.okta.com", "`provider = \"okta\"` sets what Okta needs"),
        ("generic", "https://login.microsoftonline.com/TENANT/v2.0", "`provider = \"entra\"`"),
        ("generic", "https://sts.windows.net/TENANT/", "`provider = \"entra-v1\"`"),
        ("generic", "https://accounts.google.com", "`provider = \"google\"`"),
        ("generic", "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_A", "`provider = \"cognito\"`"),
        ("generic", "https://company.us.auth0.com", "`provider = \"auth0\"`"),
        ("generic", "https://gitlab.com", "`provider = \"gitlab\"`"),
        ("generic", "https://company.zitadel.cloud", "`provider = \"zitadel\"`"),
        ("okta", "https://company.us.auth0.com", "is Auth0's, and `provider = \"okta\"` is set"),
        ("cognito", "https://login.example.com/pool_1", "at no host of Cognito"),
        ("entra", "https://login.example.com/TENANT/v2.0", "at no host of Entra"),
        ("lark", "https://login.example.com", "at no host of Lark"),
    ] {
        let found = warnings(&entry(preset, issuer, "client_secret = \"x\""), "");
        assert!(found.len() == 1 && found[0].contains(named), "{preset} {issuer}: {found:?}");
    }
    // Whose name only ends alike, and who runs an emulator.
    for (preset, issuer) in [
        ("generic", "https://notokta.com"),
        ("generic", "https://gitlab.com.example"),
        ("cognito", "http://localhost:9229/local_1"),
    ] {
        let found = warnings(&entry(preset, issuer, ""), "");
        assert!(!found.iter().any(|warning| warning.contains("host") || warning.contains("provider =")), "{found:?}");
    }
}

#[test]
fn an_issuer_for_several_tenants_needs_to_know_whose_people_may_come() {
    let several = |more: &str| entry("entra", "https://login.microsoftonline.com/organizations/v2.0", more);
    let one = entry("entra", "https://login.microsoftonline.com/TENANT/v2.0", &format!("tenants = [\"{TENANT}\"]"));
    let listed = several(&format!("tenants = [\"{TENANT}\"]"));
    assert!(refused(&several(""), "provider.tenants").contains("is needed"));
    assert!(refused(&several("tenants = [\"example.com\"]"), "provider.tenants").contains("no tenant id"));
    assert!(refused(&several(&format!("tenants = [\"*\", \"{TENANT}\"]")), "provider.tenants").contains("`*` is no"));
    let twice = several(&format!("tenants = [\"{TENANT}\", \"{TENANT}\"]"));
    assert!(refused(&twice, "provider.tenants[1]").contains("twice"));
    assert!(refused(&one, "provider.tenants").contains("no effect"));
    assert_eq!(warnings(&listed, ""), [""; 0]);
    let everybody = warnings(&several("tenants = [\"*\"]"), "");
    assert!(everybody.len() == 1 && everybody[0].contains("everybody with a Microsoft account"), "{everybody:?}");
    let texts = load(&listed, "").expect("good").settings.provider[0].issuer_texts();
    assert_eq!(texts, ["https://login.microsoftonline.com/{tenantid}/v2.0"]);
    let v1 = entry("entra-v1", "https://sts.windows.net/common/", &format!("tenants = [\"{TENANT}\"]"));
    let texts = load(&v1, "").expect("good").settings.provider[0].issuer_texts();
    assert_eq!(texts, ["https://sts.windows.net/{tenantid}/"]);
    let issuer = "[[issuer]]\nname = \"api\"\nprovider = \"main\"\naudiences = [\"a\"]\n";
    let errors = load(&listed, issuer).expect_err("its tokens are of unnamed tenants").to_string();
    assert!(errors.contains("issuer.tenants: is needed"), "{errors}");
    load(&listed, &format!("{issuer}tenants = [\"{TENANT}\"]\n")).expect("they are named");
}

#[test]
fn what_the_product_does_not_know_is_named() {
    for (preset, issuer) in [
        ("cognito", "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_A"),
        ("lark", "https://anycross.larksuite.com/sso/X"),
        ("gitlab", "https://gitlab.com"),
    ] {
        for method in ["implicit", "hybrid"] {
            let error = refused(&entry(preset, issuer, &format!("auth_method = \"{method}\"")), "provider.auth_method");
            assert!(error.contains("for a code alone"), "{error}");
        }
    }
    let cognito = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_A";
    let posted = refused(&entry("cognito", cognito, "response_mode = \"form_post\""), "provider.response_mode");
    assert!(posted.contains("posts none") && posted.contains("take it away"), "{posted}");
    assert_eq!(warnings(&entry("cognito", cognito, "response_mode = \"query\""), ""), [""; 0]);
    assert_eq!(warnings(&entry("gitlab", "https://gitlab.com", "response_mode = \"form_post\""), ""), [""; 0]);
}

#[test]
fn lark_is_asked_in_the_one_way_that_it_takes() {
    let lark = |more: &str| entry("lark", "https://anycross.larksuite.com/sso/X", more);
    for way in ["auto", "none", "client_secret_basic", "client_secret_jwt"] {
        let error = refused(&lark(&format!("client_secret = \"x\"\nclient_auth = \"{way}\"")), "provider.client_auth");
        assert!(error.contains("in the form") || error.contains("would not be used"), "{error}");
    }
    let none = refused(&lark("client_auth = \"none\""), "provider.client_auth");
    assert!(none.contains("set `client_secret`, and take"), "{none}");
    // A line that nobody wrote is not to blame.
    let public = load(&lark(""), "").expect_err("a public client").to_string();
    assert!(public.contains("provider.client_secret: is needed"), "{public}");
    assert!(!public.contains("client_auth"), "{public}");
    assert_eq!(warnings(&lark("client_secret = \"x\""), ""), [""; 0]);
}

#[test]
fn a_workspace_is_named_by_its_domain() {
    let google = |hd: &str| {
        let more = format!("authorization_params = {{ hd = \"{hd}\" }}");
        entry("google", "https://accounts.google.com", &more)
    };
    for hd in ["", "@example.com", "anna@example.com", "https://example.com", "example.com, example.org"] {
        assert!(refused(&google(hd), "provider.authorization_params.hd").contains("is no domain"), "{hd}");
    }
}

#[test]
fn what_most_likely_will_not_work_is_a_warning() {
    let groups = "[[route]]\nallow = { groups = [\"a\"] }\n";
    let google = |more: &str| entry("google", "https://accounts.google.com", more);
    let auth0 = |more: &str| entry("auth0", "https://company.auth0.com", more);
    let entra = |more: &str| entry("entra", "https://login.microsoftonline.com/TENANT/v2.0", more);
    let workspace = "authorization_params = { hd = \"example.com\" }";
    for (provider, tail, named) in [
        (google(""), groups, "Google sends no groups"),
        (auth0(""), groups, "lets no Action write"),
        (entra(&format!("client_secret = \"{TENANT}\"")), "", "looks like the Secret ID"),
        (entra("client_secret = \"a~b\"\nsend_origin = true"), "", "AADSTS9002326"),
    ] {
        let found = warnings(&provider, tail);
        assert!(found.len() == 1 && found[0].contains(named), "{provider}: {found:?}");
    }
    for (provider, tail) in [
        (google(workspace), ""),
        (google(&workspace.replace("example.com", "*")), ""),
        (auth0("groups_claim = \"https://app.example.com/groups\""), groups),
        (entra("client_secret = \"a~b\""), groups),
    ] {
        assert_eq!(warnings(&provider, tail), [""; 0], "{provider}");
    }
}

#[test]
fn what_the_pages_show_of_mistakes_is_what_the_start_says() {
    let cognito = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbC123";
    let lark = "https://anycross.larksuite.com/sso/7301234567890";
    let groups = "[[route]]\nallow = { groups = [\"a\"] }\n";
    let mistakes = [
        ("keycloak", "https://keycloak.example.com", "", ""),
        ("okta", "https://example-admin.okta.com", "", ""),
        ("entra", "https://login.microsoftonline.com/TENANT", "", ""),
        ("entra-v1", "https://login.microsoftonline.com/TENANT/v2.0", "", ""),
        ("auth0", "https://example.eu.auth0.com/", "", groups),
        ("google", "https://google.com", "", ""),
        ("google", "https://accounts.google.com", "authorization_params = { hd = \"@example.com\" }", ""),
        ("lark", lark, "client_auth = \"client_secret_basic\"\nclient_secret = \"x\"", ""),
        ("cognito", "https://example.auth.eu-central-1.amazoncognito.com", "", ""),
        ("cognito", cognito, "auth_method = \"implicit\"", ""),
        ("lark", lark, "auth_method = \"implicit\"", ""),
        ("gitlab", "https://gitlab.example.com/oauth", "", ""),
        ("authentik", "https://authentik.example.com/application/o/app", "", ""),
        ("zitadel", "https://example.zitadel.cloud/ui/console", "", ""),
        ("dex", "https://dex.example.com/auth", "", ""),
        ("generic", "https://example.okta.com", "", ""),
    ];
    let said = mistakes.map(|(preset, issuer, more, tail)| match load(&entry(preset, issuer, more), tail) {
        Ok(config) => config.warnings.join("\n"),
        Err(errors) => errors.to_string(),
    });
    let pages = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/providers");
    let mut shown = 0;
    for page in std::fs::read_dir(pages).expect("pages") {
        let text = std::fs::read_to_string(page.expect("a page").path()).expect("text");
        for line in text.lines().filter(|line| line.starts_with("error: ") || line.starts_with("warning: ")) {
            // Where in a file it stands differs with the file.
            let message = &line[line.find("provider.").expect("a key")..];
            assert!(said.iter().any(|said| said.contains(message)), "nobody says {message:?}\n{said:#?}");
            shown += 1;
        }
    }
    assert!(shown > 12, "{shown}");
}
