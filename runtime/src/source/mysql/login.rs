//! Logging in: greeting, TLS, and the authentication plugins mysql_native_password, caching_sha2_password, sha256_password
//! and client_ed25519. A password leaves in clear over TLS alone; without it, encrypted with the server's RSA key.

use mysql_common::crypto;
use mysql_common::scramble::{create_response_for_ed25519, scramble_native, scramble_sha256};

use super::address::Address;
use super::connect::{Connection, Greeting};
use super::tls::Tls;
use crate::source::Failure;

const LONG_PASSWORD: u32 = 1;
const LONG_FLAG: u32 = 4;
const PROTOCOL_41: u32 = 0x200;
const SSL: u32 = 0x800;
const TRANSACTIONS: u32 = 0x2000;
const SECURE_CONNECTION: u32 = 0x8000;
const PLUGIN_AUTH: u32 = 0x8_0000;
const PLUGIN_AUTH_LENENC: u32 = 0x20_0000;
/// utf8mb4_general_ci, which every server knows.
const COLLATION: u8 = 45;

pub(super) async fn login(connection: &mut Connection, address: &Address, tls: &Tls) -> Result<(), Failure> {
    let packet = connection.packet().await?;
    if packet.first() == Some(&0xff) {
        return Err(connection.server_error(&packet));
    }
    connection.greeting = greeting(&packet).ok_or_else(|| connection.malformed())?;
    let offered = connection.greeting.capabilities;
    let encrypted = tls.is_used(offered & SSL != 0)?;
    let mut capabilities =
        (LONG_PASSWORD | LONG_FLAG | PROTOCOL_41 | TRANSACTIONS | SECURE_CONNECTION | PLUGIN_AUTH | PLUGIN_AUTH_LENENC) & offered;
    if offered & PROTOCOL_41 == 0 || offered & SECURE_CONNECTION == 0 {
        return Err(Failure::definite("the server is older than MySQL 5.5", "MySQL 5.7 or MariaDB 10.6 is the least"));
    }
    let mut head = Vec::with_capacity(128);
    if encrypted {
        capabilities |= SSL;
    }
    head.extend_from_slice(&capabilities.to_le_bytes());
    head.extend_from_slice(&(1u32 << 30).to_le_bytes());
    head.push(COLLATION);
    head.extend_from_slice(&[0; 23]);
    if encrypted {
        connection.send(&head).await?;
        connection.encrypt(tls, &address.host).await?;
    }
    let password = address.password.as_deref().unwrap_or_default().as_bytes();
    let (mut plugin, mut nonce) = (connection.greeting.plugin.clone(), connection.greeting.nonce.clone());
    // A plugin that is not known here is answered with nothing: the server then switches to the account's own.
    let answer = answer(&plugin, password, &nonce, encrypted).unwrap_or_default();
    head.extend_from_slice(address.user.as_bytes());
    head.push(0);
    head.push(answer.len() as u8);
    head.extend_from_slice(&answer);
    if capabilities & PLUGIN_AUTH != 0 {
        head.extend_from_slice(plugin.as_bytes());
        head.push(0);
    }
    connection.send(&head).await?;
    // Bounded: a server switches once, and asks for a key once.
    for _ in 0..8 {
        let packet = connection.packet().await?;
        match packet.first() {
            Some(0) => return Ok(()),
            Some(0xff) => return Err(connection.server_error(&packet)),
            Some(0xfe) => {
                (plugin, nonce) = auth_switch(&packet[1..]).ok_or_else(unknown_old)?;
                let answer = self::answer(&plugin, password, &nonce, encrypted).ok_or_else(|| unknown(&plugin))?;
                connection.send(&answer).await?;
            }
            Some(1) => more(connection, &plugin, &packet[1..], password, &nonce).await?,
            _ => return Err(connection.malformed()),
        }
    }
    Err(connection.malformed())
}

fn unknown(plugin: &str) -> Failure {
    Failure::definite(
        format!("the account uses the authentication plugin `{plugin}`, which is not supported"),
        "use an account with caching_sha2_password, mysql_native_password or (MariaDB) ed25519",
    )
}

fn unknown_old() -> Failure {
    unknown("mysql_old_password")
}

/// The first answer of a plugin. `None`: not known.
fn answer(plugin: &str, password: &[u8], nonce: &[u8], encrypted: bool) -> Option<Vec<u8>> {
    Some(match plugin {
        "mysql_native_password" => scramble_native(nonce, password).map(Vec::from).unwrap_or_default(),
        "caching_sha2_password" => scramble_sha256(nonce, password).map(Vec::from).unwrap_or_default(),
        "client_ed25519" => create_response_for_ed25519(password, nonce).to_vec(),
        "sha256_password" if encrypted || password.is_empty() => [password, &[0]].concat(),
        // Asks for the server's key.
        "sha256_password" => vec![1],
        _ => return None,
    })
}

/// What a plugin says after its first answer.
async fn more(connection: &mut Connection, plugin: &str, data: &[u8], password: &[u8], nonce: &[u8]) -> Result<(), Failure> {
    const FAST_OK: u8 = 3;
    const FULL: u8 = 4;
    match (plugin, data) {
        ("caching_sha2_password", [FAST_OK]) => Ok(()),
        ("caching_sha2_password", [FULL]) if connection.is_tls() => connection.send(&[password, &[0]].concat()).await,
        ("caching_sha2_password", [FULL]) => {
            connection.send(&[2]).await?;
            let packet = connection.packet().await?;
            match packet.split_first() {
                Some((1, key)) => send_encrypted(connection, key, password, nonce).await,
                Some((0xff, _)) => Err(connection.server_error(&packet)),
                _ => Err(connection.malformed()),
            }
        }
        ("sha256_password", key) => send_encrypted(connection, key, password, nonce).await,
        _ => Err(connection.malformed()),
    }
}

/// Sends the password, XORed with the nonce, under the server's RSA key (OAEP).
async fn send_encrypted(connection: &mut Connection, key: &[u8], password: &[u8], nonce: &[u8]) -> Result<(), Failure> {
    let mut clear = [password, &[0]].concat();
    if nonce.is_empty() {
        return Err(connection.malformed());
    }
    clear.iter_mut().zip(nonce.iter().cycle()).for_each(|(c, n)| *c ^= n);
    let key = key.to_vec();
    // The library panics on what is no key, and the key comes from outside.
    let secret = tokio::task::spawn_blocking(move || crypto::encrypt(&clear, &key)).await;
    let secret = secret.map_err(|_| {
        Failure::definite("the server's RSA key cannot be used", "use TLS: ssl-mode=required, and a server that offers it")
    })?;
    connection.send(&secret).await
}

/// Plugin name, 0, nonce, 0.
fn auth_switch(data: &[u8]) -> Option<(String, Vec<u8>)> {
    let end = data.iter().position(|b| *b == 0)?;
    let nonce = &data[end + 1..];
    Some((String::from_utf8_lossy(&data[..end]).into_owned(), without_end(nonce).to_vec()))
}

/// A nonce has 20 bytes (12 in the greeting's second part), ed25519's 32. The 0 that most plugins send after it is none of them; the last of
/// them may be 0 itself.
fn without_end(nonce: &[u8]) -> &[u8] {
    match nonce.len() {
        len @ (13 | 21 | 33) => &nonce[..len - 1],
        _ => nonce,
    }
}

/// Protocol 10, version, 0, connection 4, nonce 8, 0, capabilities 2, collation 1, status 2, capabilities 2, nonce length 1,
/// reserved 10, nonce, plugin, 0.
fn greeting(packet: &[u8]) -> Option<Greeting> {
    let rest = packet.strip_prefix(&[10])?;
    let end = rest.iter().position(|b| *b == 0)?;
    let rest = &rest[end + 1..];
    let fixed: &[u8; 31] = rest.first_chunk()?;
    let mut nonce = fixed[4..12].to_vec();
    let capabilities = u32::from_le_bytes([fixed[13], fixed[14], fixed[18], fixed[19]]);
    let second = usize::from(fixed[20]).saturating_sub(8).max(13);
    let rest = &rest[31..];
    let second = &rest[..second.min(rest.len())];
    nonce.extend_from_slice(without_end(second));
    let plugin = &rest[second.len()..];
    let plugin = plugin.split(|b| *b == 0).next().unwrap_or_default();
    let plugin = if plugin.is_empty() { "mysql_native_password".into() } else { String::from_utf8_lossy(plugin).into_owned() };
    Some(Greeting { capabilities, nonce, plugin })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_keeps_its_last_byte() {
        for (len, ends) in [(20, true), (20, false), (32, true), (32, false)] {
            let nonce = vec![0; len];
            let sent = [b"plugin\0", &nonce[..], &[0][..usize::from(ends)]].concat();
            assert_eq!(auth_switch(&sent).unwrap().1, nonce);
        }
    }
}
