//! Tries what a plugin may only do if the manifest grants it, `{ "do": "http", "url": "https://api.example.com/" }`, and writes what came of it
//! into every text column: what the tests of the host need.

use std::cell::RefCell;

use serde::Deserialize;
use tidegate_plugin::{Batch, Plan, Plugin, Relation};
use wasip2::cli::environment;
use wasip2::clocks::{monotonic_clock, wall_clock};
use wasip2::http::outgoing_handler;
use wasip2::http::types::{Fields, IncomingBody, Method, OutgoingBody, OutgoingRequest, Scheme};
use wasip2::io::streams::StreamError;
use wasip2::random::random;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
enum Outside {
    /// The time of day, in seconds.
    Clock,
    /// An hour.
    Sleep,
    /// 16 bytes.
    Random,
    /// All variables, and all arguments.
    Env,
    /// `times` requests, one after the other; the status and the beginning of the last answer.
    Http {
        url: String,
        #[serde(default)]
        headers: Vec<(String, String)>,
        #[serde(default)]
        bytes: usize,
        /// After the body.
        #[serde(default)]
        trailers: Vec<(String, String)>,
        /// In place of GET or POST.
        method: Option<String>,
        #[serde(default = "one")]
        times: u32,
    },
    /// Writes a body that nobody reads.
    Stuck,
    /// Makes headers, and never lets go of them.
    Hoard,
}

fn one() -> u32 {
    1
}

impl Plugin for Outside {
    fn configure(config: &str) -> Result<Outside, String> {
        serde_json::from_str(config).map_err(|e| e.to_string())
    }

    fn bind(&mut self, relation: &Relation) -> Result<Option<Plan>, String> {
        let texts = relation.columns.iter().filter(|column| column.kind.is_text());
        Ok(Some(texts.fold(Plan::new(), |plan, column| plan.rewrites(&column.name))))
    }

    fn process(&mut self, batch: &Batch) -> Result<(), String> {
        let found = match self {
            Outside::Clock => wall_clock::now().seconds.to_string(),
            Outside::Sleep => {
                monotonic_clock::subscribe_duration(3_600_000_000_000).block();
                "slept".to_owned()
            }
            Outside::Random => format!("{:?}", random::get_random_bytes(16)),
            Outside::Env => format!("{:?} {:?}", environment::get_environment(), environment::get_arguments()),
            Outside::Http { url, headers, bytes, trailers, method, times } => {
                let mut found = String::new();
                for _ in 0..*times {
                    found = request(url, headers, *bytes, trailers, method.as_deref()).unwrap_or_else(|error| error);
                }
                found
            }
            Outside::Stuck => stuck(),
            Outside::Hoard => {
                HOARD.with_borrow_mut(|hoard| (0..1_000_000).for_each(|_| hoard.push(Fields::new())));
                "hoarded".to_owned()
            }
        };
        for column in batch.relation().columns.iter().filter(|column| column.kind.is_text()) {
            batch.rewrite_text(&column.name, |_, out| out.push_str(&found));
        }
        Ok(())
    }
}

thread_local! {
    static HOARD: RefCell<Vec<Fields>> = const { RefCell::new(Vec::new()) };
}

fn fields(of: &[(String, String)]) -> Result<Fields, String> {
    let fields = Fields::new();
    for (name, value) in of {
        fields.append(name, value.as_bytes()).map_err(|e| format!("{e:?}"))?;
    }
    Ok(fields)
}

fn outgoing(url: &str, headers: &[(String, String)], method: &Method) -> Result<(OutgoingRequest, OutgoingBody), String> {
    let (scheme, rest) = url.split_once("://").ok_or("not a URL")?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let request = OutgoingRequest::new(fields(headers)?);
    let scheme = if scheme == "http" { Scheme::Http } else { Scheme::Https };
    request.set_scheme(Some(&scheme)).map_err(|()| "the scheme")?;
    request.set_authority(Some(authority)).map_err(|()| "the authority")?;
    request.set_path_with_query(Some(path)).map_err(|()| "the path")?;
    request.set_method(method).map_err(|()| "the method")?;
    let body = request.body().map_err(|()| "the body")?;
    Ok((request, body))
}

fn request(
    url: &str,
    headers: &[(String, String)],
    bytes: usize,
    trailers: &[(String, String)],
    method: Option<&str>,
) -> Result<String, String> {
    let method = match method {
        Some(method) => Method::Other(method.to_owned()),
        None if bytes > 0 => Method::Post,
        None => Method::Get,
    };
    let (request, body) = outgoing(url, headers, &method)?;
    let answer = outgoing_handler::handle(request, None).map_err(|e| format!("{e:?}"))?;
    {
        let stream = body.write().map_err(|()| "the stream")?;
        let mut left = bytes;
        while left > 0 {
            let part = left.min(4096);
            if stream.blocking_write_and_flush(&vec![b'x'; part]).is_err() {
                break;
            }
            left -= part;
        }
    }
    // One that was refused says so below.
    let trailers = if trailers.is_empty() { None } else { Some(fields(trailers)?) };
    let _ = OutgoingBody::finish(body, trailers);
    answer.subscribe().block();
    let answer = answer.get().ok_or("no answer")?.map_err(|()| "taken twice")?.map_err(|e| format!("{e:?}"))?;
    let mut text = format!("{} ", answer.status());
    for (name, value) in answer.headers().entries().iter().filter(|(name, _)| name == "location") {
        text.push_str(&format!("{name}: {} ", String::from_utf8_lossy(value)));
    }
    let body: IncomingBody = answer.consume().map_err(|()| "the body")?;
    let stream = body.stream().map_err(|()| "the stream")?;
    let mut length = 0;
    loop {
        match stream.blocking_read(1 << 16) {
            Ok(part) => {
                length += part.len();
                if text.len() < 1000 {
                    text.push_str(&String::from_utf8_lossy(&part[..part.len().min(1000)]));
                }
            }
            Err(StreamError::Closed) => return Ok(format!("{text} ({length} bytes)")),
            Err(StreamError::LastOperationFailed(error)) => {
                let code = wasip2::http::types::http_error_code(&error);
                return Err(format!("{text} and then {code:?}"));
            }
        }
    }
}

fn stuck() -> String {
    let Ok((_request, body)) = outgoing("https://nowhere.example/", &[], &Method::Post) else { return "no request".to_owned() };
    let Ok(stream) = body.write() else { return "no stream".to_owned() };
    loop {
        if let Err(error) = stream.blocking_write_and_flush(&[0; 4096]) {
            return format!("{error:?}");
        }
    }
}

tidegate_plugin::export!(Outside);
