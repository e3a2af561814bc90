//! ASERT over the chain's own clock, and stall relief (PROTOCOL.md §5). Pure arithmetic on
//! integers, exposed in the pieces that the vectors test.
