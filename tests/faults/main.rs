//! The fault campaign in its short forms, and the scenarios that it leaves out.
