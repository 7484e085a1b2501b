//! Changes that operators make, with their stages and warnings.
