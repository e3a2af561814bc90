//! A net that falls into halves and heals, with every payment kept.

use ashlar_bench::partition::{LIMIT, Shape, heal};

/// `ashlar-bench --only partition` does the same 200 blocks deep with 20,000 payments.
const SHAPE: Shape = Shape { blocks: 40, payments: 50 };

#[test]
fn halves_of_a_net_that_parted_for_many_blocks_end_on_one_chain_and_lose_no_payment() {
    let folder = tempfile::Builder::new().prefix("ashlar-e2e-").tempdir().unwrap();
    let healed = heal(folder, 1, SHAPE).unwrap();
    assert_eq!(healed.payments, SHAPE.blocks * SHAPE.payments * 9 / 10);
    assert!(healed.returned < LIMIT, "{healed:?}");
}
