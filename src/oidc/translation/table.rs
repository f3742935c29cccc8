//! The table of [`super`]: what providers write, the reason that it is, and the sentence that mends it.
//!
//! The texts are those of the products' own sources and pages; Entra's numbers are those of its page "Microsoft Entra
//! authentication and authorization error codes", whose sentences change.

use super::Known;
use crate::reason::Reason::{self, *};

const fn known(text: &'static str, reason: Reason, remedy: &'static str) -> Known {
    Known { error: "", text, reason, remedy }
}

const fn said(error: &'static str, text: &'static str, reason: Reason, remedy: &'static str) -> Known {
    Known { error, text, reason, remedy }
}

const SECRET: &str = "Compare `client_secret` with the one at the provider; it may have been replaced there.";
const FLOW: &str =
    "Allow the client this flow, or set `auth_method` (`OIDC_AUTH_METHOD`) to what it is registered for.";
const REDIRECT: &str = "Register the redirect URI that the gateway prints at its start, to the letter.";
const ASSIGN: &str = "Assign the person, or a group of theirs, to the application at the provider.";
const CONSENT: &str = "Grant admin consent to the application's permissions in Entra.";
const GUEST: &str = "The person's account is of another tenant: invite them, or use an issuer with `tenants`.";
const FACTOR: &str =
    "A policy of Entra asks for another factor: sign in again, and set the factor up if Entra offers it.";
const DEVICE: &str = "A Conditional Access policy of Entra asks for a device that is managed or compliant.";
const REQUEST: &str = "Entra finds the request incomplete: take away what is unusual in `authorization_params`, and check what stands in between.";
const CLIENT: &str = "Compare `client_id` with the one at the provider.";
const CODE_OVER: &str = "The code has expired or was redeemed before: sign in again.";
const SCOPE: &str = "The provider does not know one of `scopes`, or does not allow it for this client: take it away, or allow it \
     there. `openid` is always asked for, and cannot be taken away.";
const CHALLENGE: &str =
    "Allow PKCE with `S256` for this client at the provider: the gateway protects every code by it.";
const SILENT: &str = "Take `prompt = \"none\"` out of the `[[provider]]`; without it, sign in again.";

/// The first that fits is taken, so the narrower texts come first.
pub(super) const TABLE: &[Known] = &[
    // ── Entra: the client's secret and kind
    known("AADSTS7000215", ClientSecretMistaken, "Set `client_secret` to the secret's Value, not to its Secret ID."),
    known(
        "AADSTS7000222",
        ClientSecretExpired,
        "The client secret has expired: make a new one in Entra and set `client_secret` to its Value.",
    ),
    known(
        "AADSTS7000218",
        ClientSecretMissing,
        "Set `client_secret`, or register the redirect URI under `Single-page application` for a client without one.",
    ),
    known(
        "AADSTS700025",
        ClientSecretUnwanted,
        "Take `client_secret` away, or register the redirect URI under `Web` instead of as a public client's.",
    ),
    known("AADSTS70002", ClientRefused, SECRET),
    known(
        "AADSTS9002327",
        OriginRefused,
        "Set `send_origin = true` without a `client_secret`, or register the redirect URI under `Web`.",
    ),
    known(
        "AADSTS9002326",
        OriginRefused,
        "Set `send_origin = false`, or register the redirect URI under `Single-page application`.",
    ),
    known(
        "AADSTS9002325",
        OriginRefused,
        "Register the redirect URI under `Web` instead of `Single-page application`, and take nothing from the PKCE \
         parameters on their way.",
    ),
    known(
        "AADSTS700027",
        ClientRefused,
        "Upload the certificate of `client_certificate_file` to the application in Entra.",
    ),
    known(
        "AADSTS700024",
        ClientRefused,
        "The clock of the gateway is wrong, or `client_assertion_algorithm` is not one of Entra's.",
    ),
    // ── Entra: the client and its tenant
    known("AADSTS500113", RedirectUriRefused, REDIRECT),
    known("AADSTS50011", RedirectUriRefused, REDIRECT),
    known("AADSTS70004", RedirectUriRefused, REDIRECT),
    known(
        "AADSTS700016",
        ClientUnknown,
        "Compare `client_id` with the Application (client) ID, and the tenant in `issuer` with its tenant.",
    ),
    known(
        "AADSTS700011",
        ClientUnknown,
        "Compare `client_id` with the Application (client) ID, and the tenant in `issuer` with its tenant.",
    ),
    known(
        "AADSTS7000112",
        ClientUnknown,
        "The application is turned off: enable sign-in under Properties of the enterprise application in Entra.",
    ),
    known(
        "AADSTS70001",
        ClientUnknown,
        "The application is turned off or not in this tenant: look at Properties of the enterprise application, and compare \
         the tenant in `issuer`.",
    ),
    known(
        "AADSTS90002",
        ClientUnknown,
        "There is no such tenant: compare the tenant in `issuer` with the Directory (tenant) ID.",
    ),
    known("AADSTS50059", ClientUnknown, "Entra cannot tell the tenant: write its Directory (tenant) ID in `issuer`."),
    known("AADSTS50194", ClientUnknown, "The application is for one tenant alone: write the tenant's id in `issuer`."),
    // ── Entra: scopes and consent
    known("AADSTS650053", ScopeRefused, "Entra does not know one of `scopes`: take it away."),
    known("AADSTS70011", ScopeRefused, "Entra does not know one of `scopes`: take it away."),
    known(
        "AADSTS500011",
        ScopeRefused,
        "A scope in `scopes` names an API that is not in this tenant: take it away, or have an admin of the tenant add it.",
    ),
    known(
        "AADSTS650057",
        ScopeRefused,
        "A scope in `scopes` names an API that is not among the application's permissions: add it there, or take it away.",
    ),
    known("AADSTS65001", ConsentNeeded, CONSENT),
    known(
        "AADSTS65004",
        ConsentNeeded,
        "The person declined: sign in again and accept, or grant admin consent in Entra.",
    ),
    known("AADSTS650056", ConsentNeeded, CONSENT),
    known("AADSTS90094", ConsentNeeded, CONSENT),
    known("AADSTS90008", ConsentNeeded, CONSENT),
    // ── Entra: the flow
    known(
        "AADSTS700054",
        FlowRefused,
        "Allow `ID tokens` under Authentication of the application, or set `auth_method` to `pkce`.",
    ),
    known(
        "AADSTS700051",
        FlowRefused,
        "Take `response_type` out of `authorization_params`: the gateway asks for no access token through the browser.",
    ),
    known("AADSTS70005", FlowRefused, FLOW),
    known("AADSTS70007", FlowRefused, "Take `response_mode` away, which Entra does not take with this `auth_method`."),
    known(
        "AADSTS900561",
        TokenAnswer,
        "The endpoint was asked by another method: compare `issuer` with the tenant's, and look what changes requests in \
         between.",
    ),
    known("AADSTS9002313", ProviderMisconfigured, REQUEST),
    known("AADSTS900144", ProviderMisconfigured, REQUEST),
    known("AADSTS90014", ProviderMisconfigured, REQUEST),
    known("AADSTS90023", ProviderMisconfigured, REQUEST),
    // ── Entra: the person
    known("AADSTS50105", NotAssigned, ASSIGN),
    known("AADSTS50020", NotAssigned, GUEST),
    known("AADSTS50034", NotAssigned, GUEST),
    known("AADSTS51004", NotAssigned, GUEST),
    known("AADSTS16000", NotAssigned, GUEST),
    known("AADSTS16003", NotAssigned, GUEST),
    known(
        "AADSTS500208",
        NotAssigned,
        "The kind of account is not one of this tenant: come with a work account, or for an External ID tenant write its \
         `ciamlogin.com` address in `issuer`.",
    ),
    known(
        "AADSTS500213",
        NotAssigned,
        "The cross-tenant access settings of Entra keep this account out: allow its organisation there.",
    ),
    known("AADSTS530003", PolicyRefused, DEVICE),
    known("AADSTS53000", PolicyRefused, DEVICE),
    known("AADSTS53001", PolicyRefused, DEVICE),
    known("AADSTS53003", PolicyRefused, "A Conditional Access policy of Entra blocks this sign-in."),
    known("AADSTS50076", PolicyRefused, FACTOR),
    known("AADSTS50079", PolicyRefused, FACTOR),
    known("AADSTS50074", PolicyRefused, FACTOR),
    known(
        "AADSTS75011",
        PolicyRefused,
        "The person signed in another way than was asked for: take `acr_values` away, or sign out at Entra first.",
    ),
    known(
        "AADSTS165000",
        ProviderSaidNo,
        "Entra lost its own session on the way: start again in a fresh window, with cookies allowed for Entra's page.",
    ),
    known("AADSTS50058", SilentSignIn, SILENT),
    // ── Entra: codes and tokens that are over
    known("AADSTS54005", CodeRefused, "The code was redeemed before, most often by going back in the browser."),
    known("AADSTS501481", CodeRefused, "The code is not of this sign-in: start again."),
    known(
        "AADSTS700082",
        CodeRefused,
        "The refresh token has expired, as Entra has it after some months: sign in again.",
    ),
    known(
        "AADSTS700084",
        CodeRefused,
        "The refresh token of a single-page application is good for a day: sign in again.",
    ),
    known("AADSTS50173", CodeRefused, "The refresh token was revoked, as by a new password: sign in again."),
    known("AADSTS70043", CodeRefused, "A sign-in frequency policy of Entra ended the refresh token: sign in again."),
    known("AADSTS70008", CodeRefused, "The code or refresh token has expired: sign in again."),
    // ── Okta
    known("client secret supplied for a confidential client is invalid", ClientRefused, SECRET),
    known(
        "browser requests to the token endpoint",
        OriginRefused,
        "Set `send_origin = false`: Okta takes the request for a browser's.",
    ),
    known(
        "cannot supply multiple client credentials",
        ClientAuthRefused,
        "Set `client_auth` to the one way that the application has.",
    ),
    known(
        "no client credentials found",
        ClientSecretMissing,
        "Set `client_secret`: the application is registered with one.",
    ),
    known("must be a login redirect uri in the client app", RedirectUriRefused, REDIRECT),
    known("must be an absolute uri that is whitelisted", RedirectUriRefused, REDIRECT),
    known("user is not assigned to the client application", NotAssigned, ASSIGN),
    known(
        "policy evaluation failed",
        PolicyRefused,
        "No access policy of the authorization server in `issuer` lets this application or person in: add a rule there.",
    ),
    known(
        "scopes are not configured for the authorization server",
        ScopeRefused,
        "Take the scope out of `scopes`, or define it at the authorization server in `issuer`.",
    ),
    known(
        "response type is not supported by the authorization server",
        FlowRefused,
        "Allow the application this flow, or set `auth_method` to one that it has.",
    ),
    known("invalid value for 'client_id' parameter", ClientUnknown, CLIENT),
    known(
        "client authentication failed. either the client or the client credentials are invalid",
        ClientRefused,
        "Take `client_secret` away where the application in Okta is a Single-Page Application, which has none; for a Web \
         Application, compare it with the one there.",
    ),
    known(
        "token_endpoint_auth_method does not allow",
        ClientAuthRefused,
        "Set `client_auth` to the one way that the application has.",
    ),
    known("pkce code verifier does not match", CodeRefused, "The code is not of this sign-in: start again."),
    // ── Keycloak
    known(
        "client secret not provided in request",
        ClientSecretMissing,
        "Set `client_secret`: `Client authentication` is on for this client.",
    ),
    known(
        "public client not allowed to retrieve",
        ClientSecretUnwanted,
        "Take `client_secret` away: the client is public.",
    ),
    known(
        "invalid client or invalid client credentials",
        ClientRefused,
        "Compare `client_id`, and the client's Secret under Credentials.",
    ),
    known("invalid client secret", ClientRefused, SECRET),
    known(
        "standard flow is disabled",
        FlowRefused,
        "Turn `Standard flow` on for the client, or set `auth_method` to `implicit`.",
    ),
    known(
        "implicit flow is disabled",
        FlowRefused,
        "Turn `Implicit flow` on for the client, or set `auth_method` to `pkce`.",
    ),
    known(
        "not allowed to initiate browser login with given response_type",
        FlowRefused,
        "Turn on the flow of `auth_method` for the client, under Capability config.",
    ),
    known("invalid parameter: redirect_uri", RedirectUriRefused, REDIRECT),
    known("incorrect redirect_uri", RedirectUriRefused, REDIRECT),
    known("missing parameter: code_challenge", FlowRefused, "Set `auth_method` to `pkce`: the client wants PKCE."),
    known("client not found", ClientUnknown, "Compare `client_id` and the realm in `issuer` with the client."),
    known("client disabled", ClientUnknown, "Turn the client on at the provider."),
    // ── Cognito
    known("redirect_mismatch", RedirectUriRefused, REDIRECT),
    said("invalid_client", "invalid_client_secret", ClientRefused, SECRET),
    known(
        "client is not enabled for oauth2.0 flows",
        FlowRefused,
        "Turn the authorization code grant on for the app client in Cognito, under its login pages.",
    ),
    known(
        "presignup failed with error",
        PolicyRefused,
        "The pre sign-up trigger of the user pool in Cognito turns the person away: its own words are in the log line.",
    ),
    // ── Google
    said("redirect_uri_mismatch", "", RedirectUriRefused, REDIRECT),
    said("deleted_client", "", ClientUnknown, "The client was deleted in the Google Cloud console: make a new one."),
    said(
        "invalid_scope",
        "offline_access",
        ScopeRefused,
        "Take `offline_access` out of `scopes`; with the preset `google` and `session.refresh` the gateway asks in Google's \
         way.",
    ),
    said(
        "invalid_client",
        "the oauth client was not found",
        ClientUnknown,
        "Compare `client_id` with the client in the Google Cloud console.",
    ),
    said("invalid_client", "unauthorized", ClientRefused, SECRET),
    known("provided client secret is invalid", ClientRefused, SECRET),
    known(
        "client_secret is missing",
        ClientSecretMissing,
        "Set `client_secret`: Google gives one to every web application.",
    ),
    said(
        "org_internal",
        "",
        NotAssigned,
        "The consent screen is for people of the organisation alone: set it to External in Google's console.",
    ),
    said(
        "admin_policy_enforced",
        "",
        PolicyRefused,
        "An admin of the Google Workspace has to trust this client, under API controls.",
    ),
    // ── Auth0
    said(
        "access_denied",
        "unauthorized",
        ClientRefused,
        "Compare `client_secret`, and `client_auth` with the application's Authentication Method.",
    ),
    known(
        "unable to authenticate the client with the presented credentials",
        ClientRefused,
        "Register the public key of `client_key_file` at the application's Credentials.",
    ),
    known("callback url mismatch", RedirectUriRefused, REDIRECT),
    known(
        "not allowed for the client",
        FlowRefused,
        "Allow the client this grant at the provider (Auth0: Advanced Settings, Grant Types), or set `auth_method` to one that \
         it has.",
    ),
    said("unauthorized_client", "unknown client", ClientUnknown, CLIENT),
    // ── Lark
    known("only support one client credential way", ClientAuthRefused, "Set `client_auth` to `client_secret_post`."),
    known("the redirect_uri does not match the token", CodeRefused, CODE_OVER),
    known("does not match the one used during authorization", CodeRefused, CODE_OVER),
    known(
        "the user does not have permission to use this app",
        NotAssigned,
        "Put the person into the app's availability in Lark's developer console, and publish that version.",
    ),
    // ── GitLab, authentik, Hydra and Authelia, whose libraries share these sentences
    known(
        "but method 'client_secret_basic' was requested",
        ClientAuthRefused,
        "Set `client_auth` to `client_secret_post`.",
    ),
    known(
        "but method 'client_secret_post' was requested",
        ClientAuthRefused,
        "Set `client_auth` to `client_secret_basic`.",
    ),
    known(
        "client authentication failed",
        ClientRefused,
        "Compare `client_id` and `client_secret`, and `client_auth` with what the application allows; where it is a public \
         client, take `client_secret` away.",
    ),
    known(
        "requested scope is invalid",
        ScopeRefused,
        "Tick the scopes of `scopes` at the application, or take the others away.",
    ),
    known("redirect uri included is not valid", RedirectUriRefused, REDIRECT),
    known("mismatching redirection uri", RedirectUriRefused, REDIRECT),
    known("does not match any of the oauth 2.0 client's pre-registered redirect urls", RedirectUriRefused, REDIRECT),
    known("does not match the redirection uri", CodeRefused, CODE_OVER),
    known("client identifier (client_id) is missing or invalid", ClientUnknown, CLIENT),
    // ── ZITADEL
    known("redirect_uri is missing in the client configuration", RedirectUriRefused, REDIRECT),
    known(
        "response type is missing in the client configuration",
        FlowRefused,
        "Allow the application this response type, or set `auth_method` to one that it has.",
    ),
    said("invalid_client", "invalid secret", ClientRefused, SECRET),
    known(
        "client must be authenticated",
        ClientSecretMissing,
        "Set `client_secret`, or the application's Authentication Method to None.",
    ),
    known("auth_method post not supported", ClientAuthRefused, "Set `client_auth` to `client_secret_basic`."),
    known("auth_method basic not supported", ClientAuthRefused, "Set `client_auth` to `client_secret_post`."),
    known("errors.app.notfound", ClientUnknown, CLIENT),
    // ── Dex
    known("unregistered redirect_uri", RedirectUriRefused, REDIRECT),
    said(
        "invalid_client",
        "invalid client credentials",
        ClientRefused,
        "Compare `client_id` and `client_secret` with the client at the provider (Dex: `staticClients`).",
    ),
    known(
        "invalid client_id (",
        ClientUnknown,
        "Compare `client_id` with the client at the provider (Dex: `staticClients`).",
    ),
    known("unrecognized scope", ScopeRefused, "The provider does not know one of `scopes`: take it away."),
    known(
        "unsupported response type",
        FlowRefused,
        "Set `auth_method` to `pkce`, or allow the client this response type at the provider (Dex: `oauth2.responseTypes`).",
    ),
    // ── Ping, and whoever names them so
    known("invalid redirect_uri", RedirectUriRefused, REDIRECT),
    known("redirect uri mismatch", RedirectUriRefused, REDIRECT),
    said("invalid_redirect_uri", "", RedirectUriRefused, REDIRECT),
    known("unknown or invalid client_id", ClientUnknown, CLIENT),
    known(
        "more than one authentication method",
        ClientAuthRefused,
        "Set `client_auth` to the one way that the client has.",
    ),
    // ── oidc-provider for Node.js
    known(
        "client secret is expired",
        ClientSecretExpired,
        "The client secret has expired: have a new one made at the provider, and set `client_secret` to it.",
    ),
    // ── anybody, by the code alone
    said("invalid_client", "", ClientRefused, "Compare `client_id` and `client_secret` with the ones at the provider."),
    said("invalid_scope", "", ScopeRefused, SCOPE),
    known("response_type", FlowRefused, FLOW),
    known("response type", FlowRefused, FLOW),
    known("response_mode", FlowRefused, "Set `response_mode`, or `auth_method`, to what the client may use."),
    known("code_challenge", ProviderMisconfigured, CHALLENGE),
];
