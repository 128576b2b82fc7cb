//! What an event's user agent and address say about its sender, added to the event's properties when it is accepted.
//!
//! Only what can be concluded is kept. An address is looked up and forgotten: it reaches neither the database nor the log,
//! and nothing here can be printed.
//!
//! Servers send what they know of a user in fields of the event. A page cannot know its address, so for requests of pages,
//! which browsers mark by an `Origin`, it is the request's own user agent and address that are looked at.

use std::borrow::Cow;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use ab_core::{bot, event};
use axum::http::header::{HeaderName, ORIGIN, USER_AGENT};
use axum::http::request::Parts;
use ipnet::IpNet;
use maxminddb::{Reader, geoip2};
use quick_cache::sync::Cache;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::server::Peer;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Taking a user agent apart costs more than storing an event, and a few thousand of them are nearly all there are.
const USER_AGENTS: usize = 8_192;
/// Longer user agents are cut off: nobody's says what it is only behind that.
const MAX_USER_AGENT_BYTES: usize = 1_024;

/// A property that may be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Browser,
    BrowserVersion,
    Os,
    Device,
    IsBot,
    Country,
    Region,
    City,
}

impl Key {
    const ALL: [Key; 8] = [
        Key::Browser,
        Key::BrowserVersion,
        Key::Os,
        Key::Device,
        Key::IsBot,
        Key::Country,
        Key::Region,
        Key::City,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Key::Browser => "browser",
            Key::BrowserVersion => "browser_version",
            Key::Os => "os",
            Key::Device => "device",
            Key::IsBot => "is_bot",
            Key::Country => "country",
            Key::Region => "region",
            Key::City => "city",
        }
    }
}

/// Properties with their values as JSON.
type Properties = Arc<[(Key, String)]>;

/// What is known about the sender of an event, apart from who it is.
#[derive(Clone, Default)]
pub struct Attributes {
    agent: Option<Properties>,
    place: Option<Properties>,
}

impl Attributes {
    /// These where they are known, the `other` ones where not.
    pub fn or(self, other: &Attributes) -> Attributes {
        Attributes {
            agent: self.agent.or_else(|| other.agent.clone()),
            place: self.place.or_else(|| other.place.clone()),
        }
    }

    /// The `properties` of an event, a JSON object or none, with these added.
    ///
    /// A key that the sender wrote is the sender's. What would not fit is left out, and with it all that belongs to it.
    pub fn add_to<'a>(&self, properties: Option<&'a str>) -> Option<Cow<'a, str>> {
        if self.agent.is_none() && self.place.is_none() {
            return properties.map(Cow::Borrowed);
        }
        let written = properties.unwrap_or("{}").trim();
        let Ok(there) = serde_json::from_str::<Written>(written) else {
            return properties.map(Cow::Borrowed);
        };
        let Some(open) = written.strip_suffix('}') else { return properties.map(Cow::Borrowed) };
        let mut enriched = open.trim_end().to_owned();
        let mut is_first = there.is_empty;
        for (key, value) in self.agent.iter().chain(&self.place).flat_map(|properties| properties.iter()) {
            if there.keys & (1 << *key as u8) == 0 {
                let comma = if std::mem::take(&mut is_first) { "" } else { "," };
                // A text can always be written to.
                let _ = write!(enriched, "{comma}\"{}\":{value}", key.as_str());
            }
        }
        enriched.push('}');
        if enriched.len() > event::MAX_PROPERTIES_BYTES {
            return properties.map(Cow::Borrowed);
        }
        Some(Cow::Owned(enriched))
    }
}

/// Which of our keys an object has, however they are spelt.
struct Written {
    keys: u8,
    is_empty: bool,
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Written, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Written;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Written, A::Error> {
                let mut written = Written { keys: 0, is_empty: true };
                while let Some(key) = entries.next_key::<Cow<'de, str>>()? {
                    entries.next_value::<IgnoredAny>()?;
                    written.is_empty = false;
                    if let Some(known) = Key::ALL.iter().find(|known| known.as_str() == key) {
                        written.keys |= 1 << *known as u8;
                    }
                }
                Ok(written)
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

/// A list of networks whose word about a sender's address is believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

impl FromStr for TrustedProxies {
    type Err = String;

    fn from_str(text: &str) -> Result<TrustedProxies, String> {
        let networks = text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(|entry| {
            let network = entry.parse().or_else(|_| entry.parse::<IpAddr>().map(IpNet::from));
            network.map_err(|_| format!("\"{entry}\" is not a network: list them as in 10.0.0.0/8,192.0.2.7"))
        });
        networks.collect::<Result<_, _>>().map(TrustedProxies)
    }
}

impl TrustedProxies {
    fn trust(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Who sent what `peer` handed on: the last of those it was `forwarded_for` that is no proxy of ours.
    ///
    /// Whatever stands before that was written by someone who may say anything. An entry that is no address hides who it was.
    fn sender<'a>(
        &self,
        peer: IpAddr,
        forwarded_for: impl DoubleEndedIterator<Item = &'a str>,
    ) -> Option<IpAddr> {
        let mut sender = peer.to_canonical();
        let mut entries = forwarded_for.rev().flat_map(|header| header.rsplit(','));
        while self.trust(sender) {
            match entries.next() {
                Some(entry) => sender = address(entry)?,
                None => break,
            }
        }
        Some(sender)
    }
}

/// An address, as some proxies write it with a port.
fn address(entry: &str) -> Option<IpAddr> {
    let entry = entry.trim();
    let address = entry
        .parse()
        .ok()
        .or_else(|| entry.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
        .or_else(|| entry.strip_prefix('[')?.strip_suffix(']')?.parse().ok())?;
    Some(IpAddr::to_canonical(&address))
}

/// What user agents and addresses are looked up in.
pub struct Enrichment {
    trusted: TrustedProxies,
    places: Option<Reader<Vec<u8>>>,
    agents: Cache<Box<str>, Properties>,
}

impl Enrichment {
    /// With the places of the MaxMind-format file at `database`, if there is one.
    ///
    /// # Errors
    /// When that file cannot be used.
    pub fn new(trusted: TrustedProxies, database: Option<&Path>) -> anyhow::Result<Enrichment> {
        let places = database.filter(|path| !path.as_os_str().is_empty()).map(open_places).transpose()?;
        Ok(Enrichment { trusted, places, agents: Cache::new(USER_AGENTS) })
    }

    /// What a request says about the one it comes from; nothing unless that is a page.
    pub fn of_request(&self, parts: &Parts) -> Attributes {
        if !is_of_page(parts) {
            return Attributes::default();
        }
        let forwarded_for: Vec<_> = parts
            .headers
            .get_all(FORWARDED_FOR)
            .iter()
            // What cannot be read is no address either.
            .map(|header| header.to_str().unwrap_or("?"))
            .collect();
        let peer = parts.extensions.get::<Peer>();
        let sender = peer.and_then(|&Peer(peer)| self.trusted.sender(peer, forwarded_for.into_iter()));
        let user_agent =
            parts.headers.get(USER_AGENT).map(|header| String::from_utf8_lossy(header.as_bytes()));
        Attributes {
            agent: user_agent.and_then(|user_agent| self.of_user_agent(&user_agent)),
            place: sender.and_then(|sender| self.of_address(sender)),
        }
    }

    /// What the fields of an event say about the one it is about.
    ///
    /// # Errors
    /// When `ip` is not an address.
    pub fn of_event(&self, ip: Option<&str>, user_agent: Option<&str>) -> Result<Attributes, NotAnAddress> {
        let ip = ip.map(|ip| ip.parse().map_err(|_| NotAnAddress)).transpose()?;
        Ok(Attributes {
            agent: user_agent.and_then(|user_agent| self.of_user_agent(user_agent)),
            place: ip.and_then(|ip| self.of_address(IpAddr::to_canonical(&ip))),
        })
    }

    fn of_user_agent(&self, user_agent: &str) -> Option<Properties> {
        let user_agent = &user_agent[..user_agent.floor_char_boundary(MAX_USER_AGENT_BYTES)];
        if user_agent.trim().is_empty() {
            return None;
        }
        if let Some(known) = self.agents.get(user_agent) {
            return Some(known);
        }
        let properties = take_apart(user_agent);
        self.agents.insert(user_agent.into(), Arc::clone(&properties));
        Some(properties)
    }

    fn of_address(&self, address: IpAddr) -> Option<Properties> {
        let found =
            self.places.as_ref()?.lookup(address).and_then(|found| found.decode::<geoip2::City<'_>>());
        let place = match found {
            Ok(place) => place?,
            // Such as an address of IPv6 in a file of IPv4. The error may name the address, so it is not told.
            Err(_) => return None,
        };
        let region = place.subdivisions.first();
        let known = [
            (Key::Country, place.country.iso_code),
            (Key::Region, region.and_then(|region| region.names.english.or(region.iso_code))),
            (Key::City, place.city.names.english),
        ];
        let properties: Properties =
            known.into_iter().filter_map(|(key, text)| Some((key, json(text?)))).collect();
        (!properties.is_empty()).then_some(properties)
    }
}

/// Whether a request was sent by a page: browsers say so for every request that is not a mere `GET`.
pub fn is_of_page(parts: &Parts) -> bool {
    parts.headers.contains_key(ORIGIN)
}

/// The field `ip` of an event is something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAnAddress;

fn open_places(path: &Path) -> anyhow::Result<Reader<Vec<u8>>> {
    let shown = path.display();
    let reader = Reader::open_readfile(path).map_err(|error| {
        anyhow::anyhow!("AB_GEOIP_DB names {shown}, which cannot be read as a MaxMind database: {error}")
    })?;
    let kind = &reader.metadata().database_type;
    let holds_places =
        ["city", "country", "enterprise"].iter().any(|known| kind.to_lowercase().contains(known));
    if !holds_places {
        anyhow::bail!(
            "AB_GEOIP_DB names {shown}, which is a database of type \"{kind}\": one of cities or countries is needed"
        );
    }
    Ok(reader)
}

fn take_apart(user_agent: &str) -> Properties {
    let is_bot = bot::is_bot(user_agent);
    let found = woothee::parser::Parser::new().parse(user_agent);
    let mut properties = Vec::new();
    let mut add = |key: Key, text: &str| {
        if !text.is_empty() && text != woothee::woothee::VALUE_UNKNOWN {
            properties.push((key, json(text)));
        }
    };
    if let Some(found) = &found {
        add(Key::Browser, found.name);
        add(Key::BrowserVersion, found.version);
        add(Key::Os, operating_system(found.os));
    }
    let device = found.as_ref().map_or("other", |found| device(user_agent, found.os, found.category));
    add(Key::Device, if is_bot { "bot" } else { device });
    properties.push((Key::IsBot, is_bot.to_string()));
    properties.into()
}

/// The system by the one name that all its versions and devices share.
fn operating_system(name: &str) -> &str {
    match name {
        "iPhone" | "iPad" | "iPod" => "iOS",
        "Mac OSX" => "macOS",
        "Windows Phone OS" => "Windows Phone",
        windows if windows.starts_with("Windows ") => "Windows",
        other => other,
    }
}

/// The sort of device. The library does not tell tablets from phones; their systems do.
fn device(user_agent: &str, os: &str, category: &str) -> &'static str {
    match (os, category) {
        ("iPad", _) => "tablet",
        // By the rule of Android: what is held to the ear says "Mobile".
        ("Android", _) if !user_agent.contains("Mobile") => "tablet",
        (_, "pc") => "desktop",
        (_, "smartphone" | "mobilephone") => "mobile",
        (_, "appliance") => "console",
        (_, "crawler") => "bot",
        _ => "other",
    }
}

/// A text as JSON, which may hold what a stranger wrote.
fn json(text: &str) -> String {
    // jsonb cannot hold a NUL.
    serde_json::Value::from(text.replace('\0', "")).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1";

    fn enrichment() -> Enrichment {
        Enrichment::new(TrustedProxies::default(), None).unwrap()
    }

    fn said(user_agent: &str) -> Value {
        let attributes = enrichment().of_event(None, Some(user_agent)).unwrap();
        let properties = attributes.add_to(None).unwrap_or("null".into());
        serde_json::from_str(&properties).unwrap()
    }

    #[test]
    fn user_agents_are_taken_apart() {
        assert_eq!(
            said(IPHONE),
            json!({"browser": "Safari", "browser_version": "17.5", "os": "iOS", "device": "mobile", "is_bot": false})
        );
        let cases = [
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36",
                ["Chrome", "Windows", "desktop"],
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36 Edg/130.0.2849.56",
                ["Edge", "Windows", "desktop"],
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:132.0) Gecko/20100101 Firefox/132.0",
                ["Firefox", "macOS", "desktop"],
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0",
                ["Firefox", "Linux", "desktop"],
            ),
            (
                "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Mobile Safari/537.36",
                ["Chrome", "Android", "mobile"],
            ),
            (
                "Mozilla/5.0 (Linux; Android 13; SM-X906C) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36",
                ["Chrome", "Android", "tablet"],
            ),
            (
                "Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
                ["Safari", "iOS", "tablet"],
            ),
        ];
        for (user_agent, [browser, os, device]) in cases {
            let said = said(user_agent);
            assert_eq!(
                (&said["browser"], &said["os"], &said["device"], &said["is_bot"]),
                (&json!(browser), &json!(os), &json!(device), &json!(false)),
                "{user_agent}"
            );
        }
        let bot = said("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)");
        assert_eq!((&bot["device"], &bot["is_bot"]), (&json!("bot"), &json!(true)));
        assert_eq!(said("curl/8.5.0")["is_bot"], true);
        assert_eq!(said("something else"), json!({"device": "other", "is_bot": false}));
        assert_eq!(said("  "), Value::Null);
        for strange in ["\0\"\\", &"é".repeat(2_000), "Chrome/\u{0}1\"", "Windows \u{1F600}"] {
            said(strange);
        }
    }

    #[test]
    fn what_the_sender_wrote_stays() {
        let attributes = enrichment().of_event(None, Some(IPHONE)).unwrap();
        let added = |properties: &str| -> Value {
            serde_json::from_str(&attributes.add_to(Some(properties)).unwrap()).unwrap()
        };
        assert_eq!(added(" { } ")["os"], "iOS");
        assert_eq!(added(r#"{"a": 1.50 }"#)["device"], "mobile");
        assert!(attributes.add_to(Some(r#"{"a": 1.50 }"#)).unwrap().contains("1.50"));
        let written = added(r#"{"os": null, "\u0064evice": "phone", "x": {"browser": 1}}"#);
        assert_eq!((&written["os"], &written["device"]), (&Value::Null, &json!("phone")));
        assert_eq!(written["browser"], "Safari");
        let large = format!(r#"{{"a":"{}"}}"#, "x".repeat(event::MAX_PROPERTIES_BYTES - 10));
        assert_eq!(attributes.add_to(Some(&large)).unwrap(), large);
        assert_eq!(Attributes::default().add_to(None), None);
        assert!(enrichment().of_event(Some("nonsense"), None).is_err());
    }

    #[test]
    fn the_sender_is_the_last_that_is_no_proxy_of_ours() {
        let trusted: TrustedProxies = "10.0.0.0/8, 192.0.2.7,2001:db8::/32".parse().unwrap();
        let sender = |peer: &str, headers: &[&str]| {
            let sender = trusted.sender(peer.parse().unwrap(), headers.iter().copied());
            sender.map(|sender| sender.to_string())
        };
        let is = |address: &str| Some(address.to_owned());
        // Whoever is no proxy of ours can write what they like.
        assert_eq!(sender("203.0.113.9", &["198.51.100.1"]), is("203.0.113.9"));
        assert_eq!(sender("10.1.1.1", &["1.1.1.1, 198.51.100.1, 192.0.2.7"]), is("198.51.100.1"));
        assert_eq!(sender("10.1.1.1", &["1.1.1.1", "198.51.100.1", "10.2.2.2"]), is("198.51.100.1"));
        assert_eq!(sender("::ffff:10.1.1.1", &["198.51.100.1:4711"]), is("198.51.100.1"));
        assert_eq!(sender("2001:db8::1", &["[2a00::5]:80"]), is("2a00::5"));
        assert_eq!(sender("2001:db8::1", &["[2a00::5]"]), is("2a00::5"));
        assert_eq!(sender("10.1.1.1", &["1.1.1.1, unknown"]), None);
        assert_eq!(sender("10.1.1.1", &["10.3.3.3"]), is("10.3.3.3"));
        assert_eq!(sender("10.1.1.1", &[]), is("10.1.1.1"));
        assert_eq!("".parse(), Ok(TrustedProxies::default()));
        assert!("10.0.0.0/8,here".parse::<TrustedProxies>().unwrap_err().contains("\"here\""));
    }

    #[test]
    fn a_file_that_is_no_database_is_named() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let error = Enrichment::new(TrustedProxies::default(), Some(&path)).err().unwrap().to_string();
        assert!(error.starts_with("AB_GEOIP_DB names ") && error.contains("Cargo.toml"), "{error}");
        assert!(Enrichment::new(TrustedProxies::default(), Some(Path::new(""))).is_ok());
    }
}
