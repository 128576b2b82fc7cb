//! The network between two programs, for tests in which it fails.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What becomes of what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Weather {
    /// It arrives.
    Fair,
    /// It is held up, both ways and also in new connections; nobody hears why.
    Silent,
    /// Connections are reset, new ones too.
    Stormy,
}

/// Passes on what is sent to its port on 127.0.0.1.
pub struct Proxy {
    port: u16,
    sky: Arc<Sky>,
}

struct Sky {
    weather: AtomicU8,
    connections: Mutex<Vec<TcpStream>>,
}

impl Sky {
    fn is(&self, weather: Weather) -> bool {
        self.weather.load(Ordering::SeqCst) == weather as u8
    }
}

impl Proxy {
    /// In front of `port` on 127.0.0.1.
    pub fn new(port: u16) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let sky = Arc::new(Sky {
            weather: AtomicU8::new(Weather::Fair as u8),
            connections: Mutex::new(Vec::new()),
        });
        let proxy = Proxy { port: listener.local_addr().expect("an address").port(), sky: Arc::clone(&sky) };
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let sky = Arc::clone(&sky);
                thread::spawn(move || connect(&sky, client, port));
            }
        });
        proxy
    }

    /// The same URL by way of this proxy.
    pub fn url(&self, url: &str, port: u16) -> String {
        url.replace(&format!("127.0.0.1:{port}"), &format!("127.0.0.1:{}", self.port))
    }

    /// From now on.
    pub fn set(&self, weather: Weather) {
        self.sky.weather.store(weather as u8, Ordering::SeqCst);
        if weather == Weather::Stormy {
            for connection in self.sky.connections.lock().expect("the connections").drain(..) {
                let _ = connection.shutdown(Shutdown::Both);
            }
        }
    }
}

fn connect(sky: &Arc<Sky>, client: TcpStream, port: u16) {
    while sky.is(Weather::Silent) {
        thread::sleep(Duration::from_millis(5));
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { return };
    let both = [(client.try_clone(), server.try_clone()), (server.try_clone(), client.try_clone())];
    {
        let mut connections = sky.connections.lock().expect("the connections");
        if sky.is(Weather::Stormy) {
            return;
        }
        connections.extend([client, server]);
    }
    for (from, to) in both {
        let (Ok(from), Ok(to)) = (from, to) else { return };
        let sky = Arc::clone(sky);
        thread::spawn(move || pass_on(&sky, from, to));
    }
}

fn pass_on(sky: &Sky, mut from: TcpStream, mut to: TcpStream) {
    let mut part = [0; 16 * 1024];
    while let Ok(length) = from.read(&mut part) {
        while sky.is(Weather::Silent) {
            thread::sleep(Duration::from_millis(5));
        }
        if length == 0 || to.write_all(&part[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
