//! One question to an introspection endpoint, and what its answer means.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use openidconnect::{HttpRequest, HttpResponse};
use serde_json::{Map, Value};
use url::{Url, form_urlencoded};

use super::Said;
use crate::config::model::{ClientAuth, Issuer};
use crate::config::values::Secret;
use crate::http_client::{HttpClient, HttpError, require_json, require_success};
use crate::jose::Members;
use crate::reason::{Failure, Reason};
use crate::sent::Sent;
use crate::words::in_words;

/// Most bytes of an answer about one token.
const MAX_ANSWER: usize = 64 * 1024;

/// The gateway as a client that may introspect.
pub(super) struct Asker {
    client_id: String,
    secret: Option<Secret>,
    auth: ClientAuth,
}

/// What is said of an active token.
pub(super) struct Active {
    /// With every member in its type, as [`Said`] reads them.
    pub said: Map<String, Value>,
    /// Of the answer.
    pub bytes: usize,
}

/// Why there is no definite answer.
pub(super) struct NoAnswer {
    pub failure: Failure,
    /// Whether a question about another token would come to the same, as far as one can see: the issuer cannot be reached,
    /// is out of order, or refuses the gateway itself.
    pub lasts: bool,
}

impl Asker {
    pub fn new(settings: &Issuer) -> Asker {
        Asker {
            client_id: settings.client_id.clone().unwrap_or_default(),
            secret: settings.client_secret.clone(),
            auth: settings.client_auth,
        }
    }

    /// `None` where the token is not active. `methods` are the ways of authentication that the metadata lists.
    pub async fn ask(
        &self,
        http: &HttpClient,
        endpoint: &Url,
        methods: Option<&[String]>,
        token: &str,
    ) -> Result<Option<Active>, NoAnswer> {
        let unavailable = |lasts: bool| {
            move |error: HttpError| {
                let detail = format!("introspection: {error}, at {}", endpoint.origin().ascii_serialization());
                NoAnswer { failure: Failure::new(Reason::IntrospectionUnavailable, detail), lasts }
            }
        };
        let request = self.request(endpoint, methods, token).map_err(unavailable(true))?;
        let response = http.send(request).await.map_err(unavailable(true))?;
        if let Some(failure) = refusal(&response, &self.sent(token)) {
            return Err(NoAnswer { failure, lasts: true });
        }
        let status = response.status();
        let out_of_order = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
        require_success(&response).map_err(unavailable(out_of_order))?;
        // An answer of another type, also a signed one (RFC 9701), was not asked for.
        require_json(&response).map_err(unavailable(false))?;
        read(response.body()).map_err(|failure| NoAnswer { failure: self.sent(token).cleaned(failure), lasts: false })
    }

    /// What an answer may quote and nobody should read.
    fn sent(&self, token: &str) -> Sent {
        let mut sent = Sent::new([token]);
        if let Some(secret) = &self.secret {
            sent.add(secret.expose());
            sent.add_basic(&self.basic(secret));
        }
        sent
    }

    /// RFC 6749 §2.3.1: both are form-encoded before.
    fn basic(&self, secret: &Secret) -> String {
        let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        format!("Basic {}", STANDARD.encode(format!("{}:{}", encode(&self.client_id), encode(secret.expose()))))
    }

    fn request(&self, endpoint: &Url, methods: Option<&[String]>, token: &str) -> Result<HttpRequest, HttpError> {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("token", token).append_pair("token_type_hint", "access_token");
        let mut request = http::Request::post(endpoint.as_str())
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        match (self.method(methods), &self.secret) {
            (ClientAuth::ClientSecretPost, Some(secret)) => {
                form.append_pair("client_id", &self.client_id).append_pair("client_secret", secret.expose());
            }
            (ClientAuth::ClientSecretBasic | ClientAuth::Auto, Some(secret)) => {
                request = request.header(AUTHORIZATION, self.basic(secret));
            }
            // Assertions and certificates are for providers; judging says so.
            (_, _) => {
                form.append_pair("client_id", &self.client_id);
            }
        }
        let body = form.finish().into_bytes();
        request.body(body).map_err(|_| HttpError::Setup("not an address or secret".into()))
    }

    /// Exactly one way (RFC 6749 §2.3).
    fn method(&self, methods: Option<&[String]>) -> ClientAuth {
        let offers = |method| methods.is_some_and(|methods| methods.iter().any(|m| m == method));
        match self.auth {
            ClientAuth::Auto if !offers("client_secret_basic") && offers("client_secret_post") => {
                ClientAuth::ClientSecretPost
            }
            chosen => chosen,
        }
    }
}

/// The issuer refuses the gateway itself (RFC 7662 §2.3, RFC 6749 §5.2), or nothing of the kind.
fn refusal(response: &HttpResponse, sent: &Sent) -> Option<Failure> {
    let status = response.status().as_u16();
    let document: Option<Map<String, Value>> = serde_json::from_slice(response.body()).ok();
    let error = document.as_ref().and_then(|document| document.get("error")).and_then(Value::as_str);
    let refused = match status {
        401 | 403 => true,
        400 => matches!(error, Some("invalid_client" | "unauthorized_client")),
        _ => false,
    };
    let said = error.map_or_else(String::new, |error| format!(", {}", in_words(&sent.without(error))));
    refused.then(|| Failure::new(Reason::IntrospectionRefused, format!("introspection: HTTP status {status}{said}")))
}

fn read(body: &[u8]) -> Result<Option<Active>, Failure> {
    let unusable = |why: String| Failure::new(Reason::IntrospectionUnavailable, format!("introspection: {why}"));
    if body.len() > MAX_ANSWER {
        return Err(unusable(format!("the answer is larger than {} kB", MAX_ANSWER / 1024)));
    }
    // With a member twice it would say two things.
    let said = Members::read(body).map_err(unusable)?;
    match said.get("active") {
        Some(Value::Bool(true)) => {
            Said::read(&said).map_err(unusable)?;
            Ok(Some(Active { said, bytes: body.len() }))
        }
        Some(Value::Bool(false)) => Ok(None),
        _ => Err(unusable("the answer has no boolean `active`".into())),
    }
}
