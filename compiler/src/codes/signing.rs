//! EK0490 to EK0492: keys of HMAC on advertisements.

super::codes! {
    KEY_NUMBER = "EK0490" Error "not a number of a key":
        "A trailer has one byte that says which key it was made with (draft-cassen-vrrp-auth-hmac): 1 to \
         255. All routers of a VRID number their keys alike.";
    ACTIVE_KEY = "EK0491" Error "the active key is not among the keys":
        "Advertisements are sent with the key that `active` names. To change a key: add the new one on all \
         directors, then make it `active`, then remove the old one.";
    HMAC_WINDOW = "EK0492" Error "a window that cannot be had":
        "With `anti_replay = \"time\"` an advertisement counts only while its time differs from the \
         director's by no more than the window: whole seconds, up to 5 minutes. `monotonic` looks at no \
         time.";
}
