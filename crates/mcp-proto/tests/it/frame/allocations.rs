//! What decoding asks of the allocator.

use bytes::BytesMut;
use mcp_proto::frame::{Command, Decoded, Frame, FrameCodec, Metadata, Profile, Side};
use tokio_util::codec::Decoder;

use super::{PAYLOAD_MAX, encode};

/// Frames of one read.
const FRAMES: usize = 1000;

#[test]
fn a_frame_is_decoded_without_an_allocation() {
    let metadata = Metadata::new().with(Metadata::METHOD, "/a.B/C");
    for profile in Profile::ALL {
        let plain = Frame::request(Command(1), 0, vec![1; 64]);
        let frame = if profile == Profile::Standard { plain.with_metadata(&metadata) } else { plain };
        let mut codec = FrameCodec::new(profile, PAYLOAD_MAX, Side::Server);
        let bytes = encode(&mut codec, &frame).repeat(FRAMES);
        let mut buffer = BytesMut::from(&bytes[..]);
        let mut count = 0;
        let used = allocation_counter::measure(|| {
            while let Some(Decoded::Frame(_)) = codec.decode(&mut buffer).unwrap() {
                count += 1;
            }
        });
        assert_eq!(count, FRAMES, "{profile}");
        // One to share the buffer, one to have room for the next read.
        assert!(used.count_total <= 2, "{profile}: {} allocations for {FRAMES} frames", used.count_total);
    }
}
