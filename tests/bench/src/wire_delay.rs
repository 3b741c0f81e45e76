//! A TCP proxy that holds back every byte for a while and lets any number of them be under way: a network between a program and
//! its database. Threads wait more exactly than the timers of an async runtime, which go by milliseconds.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Starts one in front of `server`; where it listens. It runs until the process ends.
pub fn start(server: SocketAddr, one_way: Duration) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect(server) else { continue };
            for stream in [&client, &server] {
                let _ = stream.set_nodelay(true);
            }
            carry(client.try_clone().unwrap(), server.try_clone().unwrap(), one_way);
            carry(server, client, one_way);
        }
    });
    address
}

/// Carries what comes in at one end to the other, each part a while after it came.
fn carry(mut from: TcpStream, mut to: TcpStream, one_way: Duration) {
    let (sender, receiver) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let part = (Instant::now() + one_way, buffer[..length].to_vec());
            if sender.send(part).is_err() {
                return;
            }
        }
    });
    thread::spawn(move || {
        for (due, part) in receiver {
            let left = due.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                thread::sleep(left);
            }
            if to.write_all(&part).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
}
