//! The election under attack, under faults and beside keepalived 2.2.7, which runs in the same guest. Figures
//! are printed for both; asserted is what evenkeeld must keep. Longer measurements are in `examples/measure`.

mod bogus;
mod faults;
mod files;
mod group;
mod live;
mod matrix;
mod moving;
mod orders;
mod pause;
mod strangers;
mod strip;
mod support;
