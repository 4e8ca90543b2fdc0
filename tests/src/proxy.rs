//! A TCP proxy in front of a server, which can cut connections in the middle of a packet, or swallow what they carry.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the server: what a sink writes.
    Up,
    /// From the server: what a source reads.
    Down,
}

/// Listens on 127.0.0.1 until the process ends.
pub struct Proxy {
    pub port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Bytes until the next cut, by way; below zero: no cut is wanted.
    left: [AtomicI64; 2],
    cuts: AtomicU64,
    swallows: AtomicBool,
    /// The next cut is the end.
    ends: AtomicBool,
    /// Who comes is sent away.
    has_ended: AtomicBool,
}

impl Proxy {
    /// In front of `port` of this machine.
    pub fn to(port: u16) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let own = listener.local_addr().expect("the port of the listener").port();
        let state = Arc::new(State { left: [AtomicI64::new(-1), AtomicI64::new(-1)], ..State::default() });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.has_ended.load(Ordering::SeqCst) {
                    continue;
                }
                // The server may be down: the client sees its connection closed.
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                for way in [Way::Up, Way::Down] {
                    let (Ok(client), Ok(server), state) = (client.try_clone(), server.try_clone(), Arc::clone(&shared)) else {
                        continue;
                    };
                    thread::spawn(move || match way {
                        Way::Up => state.pass(way, client, server),
                        Way::Down => state.pass(way, server, client),
                    });
                }
            }
        });
        Proxy { port: own, state }
    }

    /// Cuts the connection on which the byte number `bytes` from now on goes `way`, right after that byte.
    pub fn cut_after(&self, way: Way, bytes: u32) {
        self.state.left[way as usize].store(i64::from(bytes), Ordering::SeqCst);
    }

    /// The same, and nobody gets through any more, as if the server were gone.
    pub fn end_after(&self, way: Way, bytes: u32) {
        self.state.ends.store(true, Ordering::SeqCst);
        self.cut_after(way, bytes);
    }

    /// How many connections were cut.
    pub fn cuts(&self) -> u64 {
        self.state.cuts.load(Ordering::SeqCst)
    }

    /// True: connections stay, and what they carry is lost. False: those that lost something are closed.
    pub fn swallow(&self, swallows: bool) {
        self.state.swallows.store(swallows, Ordering::SeqCst);
    }
}

impl State {
    /// Passes bytes on until either side ends.
    fn pass(&self, way: Way, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = vec![0; 1 << 14];
        let mut lost = false;
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if self.swallows.load(Ordering::SeqCst) {
                lost = true;
                continue;
            }
            if lost {
                break;
            }
            let left = self.left[way as usize].load(Ordering::SeqCst);
            let cut = left >= 0 && left < count as i64;
            let part = if cut { left as usize } else { count };
            if left >= 0 {
                self.left[way as usize].store(if cut { -1 } else { left - count as i64 }, Ordering::SeqCst);
            }
            let passed = to.write_all(&buffer[..part]);
            if cut {
                self.has_ended.store(self.ends.load(Ordering::SeqCst), Ordering::SeqCst);
                self.cuts.fetch_add(1, Ordering::SeqCst);
            }
            if cut || passed.is_err() {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}
