//! The address under which others reach this instance.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

/// Documentation addresses (RFC 5737, RFC 3849). Nothing is ever sent to them.
const FAR: [(IpAddr, IpAddr); 2] = [
    (IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))),
    (IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))),
];

/// What to register: `configured`, else where the listener is.
///
/// A listener on all interfaces (`0.0.0.0`, `[::]`) has no address of its own. Then it is the one that this machine
/// would use to reach others: a container's address in its network, a pod's IP. A host name is not used, since others
/// often cannot resolve it. Without any route, the loopback address: then nobody else is there to reach us.
pub fn address(configured: Option<&str>, listener: SocketAddr) -> String {
    match configured {
        Some(address) => address.to_owned(),
        None if listener.ip().is_unspecified() => {
            let ip = FAR.iter().find_map(|&(from, to)| route_to(from, to).ok()).unwrap_or(Ipv4Addr::LOCALHOST.into());
            SocketAddr::new(ip, listener.port()).to_string()
        }
        None => listener.to_string(),
    }
}

/// The local address that a packet to `to` would carry. Connecting a UDP socket looks up the route and sends nothing.
fn route_to(from: IpAddr, to: IpAddr) -> io::Result<IpAddr> {
    const DISCARD: u16 = 9;
    let socket = UdpSocket::bind((from, 0))?;
    socket.connect((to, DISCARD))?;
    Ok(socket.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn a_configured_address_wins() {
        assert_eq!(address(Some("scheduler:7102"), "0.0.0.0:7102".parse().unwrap()), "scheduler:7102");
    }

    #[test]
    fn a_listener_on_one_interface_is_its_own_address() {
        assert_eq!(address(None, "127.0.0.1:7102".parse().unwrap()), "127.0.0.1:7102");
        assert_eq!(address(None, "[::1]:7102".parse().unwrap()), "[::1]:7102");
    }

    #[test]
    fn a_listener_on_all_interfaces_gets_an_address_that_can_be_reached() {
        for listener in ["0.0.0.0:7102", "[::]:7102"] {
            let address: std::net::SocketAddr = address(None, listener.parse().unwrap()).parse().unwrap();
            assert!(!address.ip().is_unspecified(), "{listener} became {address}");
            assert_eq!(address.port(), 7102);
        }
    }
}
