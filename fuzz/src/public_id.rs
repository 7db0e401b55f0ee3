//! Public ids: one text for each id, and no other text is read.

use multi_process_session::PublicId;

pub fn run(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(id) = text.parse::<PublicId>()
    {
        assert_eq!(id.to_string(), text);
        assert_eq!(PublicId::from_bytes(*id.as_bytes()), id);
    }
    if let Some(bytes) = data.first_chunk() {
        let id = PublicId::from_bytes(*bytes);
        assert_eq!(id.to_string().parse(), Ok(id));
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    [0, 0x5a, 0xff].map(|byte| PublicId::from_bytes([byte; 18]).to_string().into_bytes()).to_vec()
}
