//! OpenLDAP's slapd as Debian ships it, with a directory of its own that ends with the test.
//!
//! The tree is `dc=example,dc=org`: `ou=people` (with the people of [`PEOPLE`]), `ou=groups`, and `ou=elsewhere`, which is a
//! referral. Passwords are the name and `-secret`.

use std::io::{BufRead, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use super::eventually;
use super::tls::Authority;

/// A loopback address that no other part of the tests listens on.
pub const HOST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
pub const BASE: &str = "dc=example,dc=org";
pub const READER: &str = "cn=reader,ou=services,dc=example,dc=org";
pub const READER_PASSWORD: &str = "reader-secret";

/// Names that people have, `uid` and the first part of their DN as LDIF writes it.
pub const PEOPLE: [(&str, &str); 8] = [
    ("ada", "cn=Ada Lovelace"),
    ("bob", "uid=bob"),
    ("jörg.müller", "cn=Müller\\, Jörg"),
    ("o'brien (x)", "cn=O'Brien \\\"Star\\\" (*)"),
    ("st*r", "cn=st*r"),
    ("plus+eq=#", "cn=\\#plus\\+eq\\=\\;\\<x\\>"),
    ("back\\slash", "cn=back\\\\slash"),
    ("eve", "uid=eve"),
];

/// How a slapd is set up beside the usual.
#[derive(Default)]
pub struct Setup {
    /// Lines of slapd.conf before the database.
    pub global: String,
    /// Lines of slapd.conf for the database.
    pub database: String,
    /// Entries beside the usual ones.
    pub ldif: String,
    /// Names in the certificate; the address it listens on unless set.
    pub certificate: Option<Vec<String>>,
}

/// A running slapd.
pub struct Slapd {
    pub port: u16,
    pub tls_port: u16,
    pub authority: Authority,
    dir: TempDir,
    log: Arc<Mutex<Vec<String>>>,
    child: Mutex<Option<Child>>,
}

/// The password of whoever has this name.
pub fn password(uid: &str) -> String {
    format!("{uid}-secret")
}

fn base64(text: &str) -> String {
    use ::base64::Engine;
    ::base64::engine::general_purpose::STANDARD.encode(text)
}

/// A person's entry; `more` are lines with their ends. DNs outside ASCII are written in base64, as LDIF wants it.
pub fn person(uid: &str, rdn: &str, place: &str, more: &str) -> String {
    let dn = format!("{rdn},{place},{BASE}");
    format!(
        "dn:: {}\nobjectClass: inetOrgPerson\nuid:: {}\nsn: X\ncn:: {}\nmail:: {}\nuserPassword:: {}\n{more}\n",
        base64(&dn),
        base64(uid),
        base64(&format!("{uid} of {place}")),
        base64(&format!("{}@example.org", uid.split(['(', ' ', '#', '*', '\\']).next().unwrap_or(uid))),
        base64(&password(uid)),
    )
}

impl Slapd {
    pub async fn start() -> Slapd {
        Slapd::start_with(Setup::default()).await
    }

    pub async fn start_with(setup: Setup) -> Slapd {
        let dir = tempfile::tempdir().expect("a folder");
        let authority = Authority::new();
        let names = setup.certificate.clone().unwrap_or_else(|| vec![HOST.to_string()]);
        let leaf = authority.leaf(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let (certificate, key) = leaf.write(dir.path());
        let ca = dir.path().join("ca.pem");
        std::fs::write(&ca, authority.pem()).expect("ca.pem");
        std::fs::create_dir(dir.path().join("data")).expect("data");
        let schemas: String = ["core", "cosine", "inetorgperson", "nis"]
            .map(|s| format!("include /etc/ldap/schema/{s}.schema\n"))
            .concat();
        let conf = format!(
            "{schemas}modulepath /usr/lib/ldap\nmoduleload back_mdb\nmoduleload memberof\nmoduleload ppolicy\n\
             pidfile {dir}/slapd.pid\nTLSCACertificateFile {ca}\nTLSCertificateFile {certificate}\n\
             TLSCertificateKeyFile {key}\nTLSVerifyClient never\n{global}\ndatabase mdb\nmaxsize 16777216\n\
             suffix \"{BASE}\"\nrootdn \"cn=root,{BASE}\"\nrootpw root-secret\ndirectory {dir}/data\n\
             access to attrs=userPassword by anonymous auth by * none\naccess to * by * read\n\
             overlay memberof\n{database}\n",
            dir = dir.path().display(),
            ca = ca.display(),
            certificate = certificate.display(),
            key = key.display(),
            global = setup.global,
            database = setup.database,
        );
        std::fs::write(dir.path().join("slapd.conf"), conf).expect("slapd.conf");
        let mut slapd = Slapd { port: 0, tls_port: 0, authority, dir, log: Arc::default(), child: Mutex::new(None) };
        slapd.load(&format!("{}{}", tree(), setup.ldif));
        for _ in 0..5 {
            // Somebody else may take a port between the choice and the start.
            (slapd.port, slapd.tls_port) = (free_port(), free_port());
            if slapd.begin().await {
                return slapd;
            }
        }
        panic!("slapd does not start: {:#?}", slapd.log());
    }

    fn load(&self, ldif: &str) {
        let mut child = Command::new("/usr/sbin/slapadd")
            .args(["-q", "-f"])
            .arg(self.dir.path().join("slapd.conf"))
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("slapadd; scripts/install-test-deps installs it");
        child.stdin.take().expect("piped").write_all(ldif.as_bytes()).expect("the entries");
        let done = child.wait_with_output().expect("slapadd");
        assert!(done.status.success(), "slapadd: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// Starts it once more, where it was killed.
    pub async fn run(&self) {
        assert!(self.begin().await, "slapd does not start again: {:#?}", self.log());
    }

    /// Starts it, and waits until it takes connections at both ports; whether it goes on running.
    async fn begin(&self) -> bool {
        let addresses = format!("ldap://{HOST}:{}/ ldaps://{HOST}:{}/", self.port, self.tls_port);
        let mut child = Command::new("/usr/sbin/slapd")
            .args(["-d", "stats", "-h", &addresses, "-f"])
            .arg(self.dir.path().join("slapd.conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("slapd; scripts/install-test-deps installs it");
        let (stderr, log) = (child.stderr.take().expect("piped"), Arc::clone(&self.log));
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
                log.lock().expect("log").push(String::from_utf8_lossy(&line).into_owned());
            }
        });
        *self.child.lock().expect("child") = Some(child);
        let ended = || {
            let mut child = self.child.lock().expect("child");
            child.as_mut().is_none_or(|child| child.try_wait().expect("slapd's status").is_some())
        };
        eventually("slapd listens", || async {
            if ended() {
                return Some(false);
            }
            for port in [self.port, self.tls_port] {
                tokio::net::TcpStream::connect((HOST, port)).await.ok()?;
            }
            Some(!ended())
        })
        .await
    }

    pub fn url(&self) -> String {
        format!("ldap://{HOST}:{}", self.port)
    }

    pub fn tls_url(&self) -> String {
        format!("ldaps://{HOST}:{}", self.tls_port)
    }

    pub fn ca_file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// The `[ldap]` table for it without TLS; the caller may append keys.
    pub fn table(&self) -> String {
        self.table_at(&self.url())
    }

    /// A table with as much time for everything as there is patience: a test that is about time has another.
    pub fn table_at(&self, address: &str) -> String {
        format!(
            "[ldap]\naddress = [{address:?}]\nbase_dn = {BASE:?}\nbind_dn = {READER:?}\nbind_password = \
             {READER_PASSWORD:?}\nconnect_timeout = \"40s\"\ntimeout = \"40s\"\n"
        )
    }

    /// What of its log was read so far. Its lines are read later than they are written, and it writes of an operation when
    /// that was answered: nothing is told by the place at which a line stands, and what has to be there is awaited.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().expect("log").clone()
    }

    /// Its lines, once one of them has all of `words`.
    pub async fn log_with(&self, words: &[&str]) -> Vec<String> {
        eventually(&format!("a line of slapd with {words:?}"), || async {
            let lines = self.log();
            lines.iter().any(|line| words.iter().all(|word| line.contains(word))).then_some(lines)
        })
        .await
    }

    /// The filters of all searches for people so far, in their order. The gateway's own look for anybody at all, which it
    /// has before it is ready, is the first; later it looks at the bases alone.
    pub fn searches(&self) -> Vec<String> {
        quoted(&self.log(), &format!(" SRCH base=\"{BASE}\" scope=2 "), "filter=\"")
    }

    /// [`Slapd::searches`], once there are `count` of them or more.
    pub async fn searches_made(&self, count: usize) -> Vec<String> {
        eventually(&format!("{count} searches"), || async { Some(self.searches()).filter(|made| made.len() >= count) })
            .await
    }

    /// The names of all binds that people caused so far, in their order.
    pub fn binds(&self) -> Vec<String> {
        let mut all = quoted(&self.log(), " method=128", " BIND dn=\"");
        all.retain(|dn| dn != READER);
        all
    }

    /// [`Slapd::binds`], once there are `count` of them or more.
    pub async fn binds_made(&self, count: usize) -> Vec<String> {
        eventually(&format!("{count} binds"), || async { Some(self.binds()).filter(|made| made.len() >= count) }).await
    }

    /// Sends a signal by name: `STOP` has it hang, `CONT` go on.
    pub fn signal(&self, name: &str) {
        let pid = self.child.lock().expect("child").as_ref().expect("running").id();
        let sent = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status();
        assert!(sent.expect("kill").success(), "signal {name}");
    }

    pub fn kill(&self) {
        if let Some(mut child) = self.child.lock().expect("child").take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Slapd {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            eprintln!("── slapd's log, its end ──\n{}\n──", log[log.len().saturating_sub(60)..].join("\n"));
        }
    }
}

/// What stands in quotes behind `name`, of each line that has `words`.
fn quoted(lines: &[String], words: &str, name: &str) -> Vec<String> {
    let of = |line: &String| Some(line.split_once(name)?.1.rsplit_once('"')?.0.to_owned());
    lines.iter().filter(|line| line.contains(words)).filter_map(of).collect()
}

/// Like [`super::free_port`], for its address.
fn free_port() -> u16 {
    loop {
        let port = super::free_port();
        if TcpListener::bind((HOST, port)).is_ok() {
            return port;
        }
    }
}

fn tree() -> String {
    let mut ldif = format!("dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\no: Example\ndc: example\n\n");
    for place in ["people", "others", "groups", "services", "policies"] {
        ldif.push_str(&format!("dn: ou={place},{BASE}\nobjectClass: organizationalUnit\nou: {place}\n\n"));
    }
    ldif.push_str(&format!(
        "dn: {READER}\nobjectClass: applicationProcess\nobjectClass: simpleSecurityObject\ncn: reader\n\
         userPassword: {READER_PASSWORD}\n\n"
    ));
    for (uid, rdn) in PEOPLE {
        // slapadd writes what it is given; the overlay keeps this from then on.
        let groups = if uid == "ada" { format!("memberOf: cn=admins,ou=groups,{BASE}\n") } else { String::new() };
        ldif.push_str(&person(uid, rdn, "ou=people", &groups));
    }
    // Two entries of one name, and one without a password.
    ldif.push_str(&person("twin", "uid=twin", "ou=people", ""));
    ldif.push_str(&person("twin", "uid=twin", "ou=others", ""));
    ldif.push_str(&format!(
        "dn: uid=mute,ou=people,{BASE}\nobjectClass: inetOrgPerson\nuid: mute\nsn: X\ncn: Mute\n\n"
    ));
    for (name, member) in [
        ("admins", "cn=Ada Lovelace,ou=people"),
        ("staff", "uid=bob,ou=people"),
        ("quotes", "cn=O'Brien \\\"Star\\\" (*),ou=people"),
    ] {
        ldif.push_str(&format!(
            "dn: cn={name},ou=groups,{BASE}\nobjectClass: groupOfNames\ncn: {name}\nmember:: {}\n\n",
            base64(&format!("{member},{BASE}"))
        ));
    }
    ldif.push_str(&format!(
        "dn: cn=posix,ou=groups,{BASE}\nobjectClass: posixGroup\ncn: posix\ngidNumber: 700\nmemberUid: bob\n\n"
    ));
    ldif
}
