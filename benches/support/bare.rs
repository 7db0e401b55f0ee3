//! The bare calls of Redis that the library is compared with: an `r2d2` pool and the `redis` crate, as applications use
//! them.

use std::time::Duration;

const KEY: &str = "a bare string";
const BYTES: usize = 100;
const TIMEOUT: Option<Duration> = Some(Duration::from_secs(2));

/// A pool of connections, and a string of 100 bytes in Redis.
pub struct Bare {
    pool: r2d2::Pool<Connections>,
}

impl Bare {
    pub fn new(url: &str, connections: u32) -> Bare {
        let client = redis::Client::open(url).expect("a URL");
        // A PING at each checkout would be a second round trip.
        let pool = r2d2::Pool::builder().max_size(connections).test_on_check_out(false).build(Connections(client));
        Bare { pool: pool.expect("the server answers") }
    }

    pub fn set(&self) {
        self.call(redis::cmd("SET").arg(KEY).arg("x".repeat(BYTES)), |_: ()| true);
    }

    pub fn get(&self) {
        self.call(redis::cmd("GET").arg(KEY), |value: Vec<u8>| value.len() == BYTES);
    }

    /// Makes two round trips: reads the string, and then extends its life.
    pub fn get_and_expire(&self) {
        self.get();
        self.call(redis::cmd("EXPIRE").arg(KEY).arg(3600), |is_there: bool| is_there);
    }

    fn call<T: redis::FromRedisValue>(&self, command: &redis::Cmd, is_right: fn(T) -> bool) {
        let mut connection = self.pool.get().expect("a connection");
        assert!(is_right(command.query(&mut *connection).expect("an answer")));
    }
}

/// Opens connections that have timeouts.
struct Connections(redis::Client);

impl r2d2::ManageConnection for Connections {
    type Connection = redis::Connection;
    type Error = redis::RedisError;

    fn connect(&self) -> Result<redis::Connection, redis::RedisError> {
        let connection = self.0.get_connection()?;
        connection.set_read_timeout(TIMEOUT)?;
        connection.set_write_timeout(TIMEOUT)?;
        Ok(connection)
    }

    fn is_valid(&self, connection: &mut redis::Connection) -> Result<(), redis::RedisError> {
        redis::cmd("PING").exec(connection)
    }

    fn has_broken(&self, connection: &mut redis::Connection) -> bool {
        !redis::ConnectionLike::is_open(connection)
    }
}
