//! Every return value of PKCS#11, its class, and so what is done about it.
//!
//! This is the one table of the product on that question. A class is chosen
//! from what modules were measured to do, not from what the standard hopes:
//! an object handle that went bad, for example, is the usual sign of a lost
//! login, and `CKR_GENERAL_ERROR` says nothing at all.
//!
//! The name is the label of the metric `sealwright_hsm_call_errors_total`.

use std::fmt;

use cryptoki::error::RvError;

/// What a return value calls for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Class {
    /// The session is lost or stuck: close it, open another, try again.
    Session,
    /// The login or an object handle is lost: look at the login state, log in
    /// once under the process lock, find the key again, try again.
    Login,
    /// The PIN is wrong, locked or expired: stop, and never try it again.
    Pin,
    /// The device did not do it, and it is not known why: try once more on a
    /// fresh session; several in a row end the pool.
    Device,
    /// Only a new load of the module helps: the pool ends, and with it the
    /// process that owns it.
    Restart,
    /// The token has no room for it now: answer "unavailable", and go on.
    Busy,
    /// This request is at fault, not the token: answer so, and go on.
    Refused,
}

impl Class {
    /// The class as a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Login => "login",
            Self::Pin => "pin",
            Self::Device => "device",
            Self::Restart => "restart",
            Self::Busy => "busy",
            Self::Refused => "refused",
        }
    }

    /// All classes, for the metrics that are created at start.
    pub const ALL: [Self; 7] = [
        Self::Session,
        Self::Login,
        Self::Pin,
        Self::Device,
        Self::Restart,
        Self::Busy,
        Self::Refused,
    ];
}

/// A return value other than `CKR_OK`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ReturnValue {
    name: &'static str,
    class: Class,
    code: Option<u64>,
}

impl ReturnValue {
    /// The standard's name, such as `CKR_PIN_LOCKED`; vendor codes share one.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What it calls for.
    pub fn class(&self) -> Class {
        self.class
    }

    fn new(name: &'static str, class: Class) -> Self {
        Self {
            name,
            class,
            code: None,
        }
    }

    fn coded(name: &'static str, class: Class, code: u64) -> Self {
        Self {
            code: Some(code),
            ..Self::new(name, class)
        }
    }
}

impl fmt::Display for ReturnValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => write!(f, "{} (0x{code:08x})", self.name),
            None => f.write_str(self.name),
        }
    }
}

impl From<RvError> for ReturnValue {
    fn from(rv: RvError) -> Self {
        use Class::{Busy, Device, Login, Pin, Refused, Restart, Session};
        let (name, class) = match rv {
            // The session.
            RvError::SessionClosed => ("CKR_SESSION_CLOSED", Session),
            RvError::SessionHandleInvalid => ("CKR_SESSION_HANDLE_INVALID", Session),
            RvError::OperationActive => ("CKR_OPERATION_ACTIVE", Session),
            RvError::OperationNotInitialized => ("CKR_OPERATION_NOT_INITIALIZED", Session),
            RvError::SessionReadOnly => ("CKR_SESSION_READ_ONLY", Session),
            RvError::SessionExists => ("CKR_SESSION_EXISTS", Session),
            RvError::SessionReadOnlyExists => ("CKR_SESSION_READ_ONLY_EXISTS", Session),
            RvError::SessionReadWriteSoExists => ("CKR_SESSION_READ_WRITE_SO_EXISTS", Session),
            RvError::Cancel => ("CKR_CANCEL", Session),
            RvError::FunctionCanceled => ("CKR_FUNCTION_CANCELED", Session),
            RvError::FunctionFailed => ("CKR_FUNCTION_FAILED", Session),

            // The login, and the handles that go with it.
            RvError::ObjectHandleInvalid => ("CKR_OBJECT_HANDLE_INVALID", Login),
            RvError::KeyHandleInvalid => ("CKR_KEY_HANDLE_INVALID", Login),
            RvError::UserNotLoggedIn => ("CKR_USER_NOT_LOGGED_IN", Login),
            RvError::UserAlreadyLoggedIn => ("CKR_USER_ALREADY_LOGGED_IN", Login),
            RvError::UserAnotherAlreadyLoggedIn => ("CKR_USER_ANOTHER_ALREADY_LOGGED_IN", Login),
            RvError::UserTooManyTypes => ("CKR_USER_TOO_MANY_TYPES", Login),

            // The PIN: a second try could lock the token for ever.
            RvError::PinIncorrect => ("CKR_PIN_INCORRECT", Pin),
            RvError::PinInvalid => ("CKR_PIN_INVALID", Pin),
            RvError::PinLenRange => ("CKR_PIN_LEN_RANGE", Pin),
            RvError::PinExpired => ("CKR_PIN_EXPIRED", Pin),
            RvError::PinLocked => ("CKR_PIN_LOCKED", Pin),
            RvError::PinTooWeak => ("CKR_PIN_TOO_WEAK", Pin),
            RvError::UserPinNotInitialized => ("CKR_USER_PIN_NOT_INITIALIZED", Pin),
            RvError::NewPinMode => ("CKR_NEW_PIN_MODE", Pin),
            RvError::NextOtp => ("CKR_NEXT_OTP", Pin),

            // The device, for a reason not told.
            RvError::GeneralError => ("CKR_GENERAL_ERROR", Device),
            RvError::DeviceError => ("CKR_DEVICE_ERROR", Device),
            RvError::FunctionRejected => ("CKR_FUNCTION_REJECTED", Device),
            RvError::ExceededMaxIterations => ("CKR_EXCEEDED_MAX_ITERATIONS", Device),
            RvError::MutexBad => ("CKR_MUTEX_BAD", Device),
            RvError::MutexNotLocked => ("CKR_MUTEX_NOT_LOCKED", Device),
            RvError::StateUnsaveable => ("CKR_STATE_UNSAVEABLE", Device),
            RvError::SavedStateInvalid => ("CKR_SAVED_STATE_INVALID", Device),
            RvError::RandomNoRng => ("CKR_RANDOM_NO_RNG", Device),
            RvError::NoEvent => ("CKR_NO_EVENT", Device),
            RvError::FunctionNotParallel => ("CKR_FUNCTION_NOT_PARALLEL", Device),

            // The module or the token is gone.
            RvError::CryptokiNotInitialized => ("CKR_CRYPTOKI_NOT_INITIALIZED", Restart),
            RvError::CryptokiAlreadyInitialized => ("CKR_CRYPTOKI_ALREADY_INITIALIZED", Restart),
            RvError::DeviceRemoved => ("CKR_DEVICE_REMOVED", Restart),
            RvError::TokenNotPresent => ("CKR_TOKEN_NOT_PRESENT", Restart),
            RvError::TokenNotRecognized => ("CKR_TOKEN_NOT_RECOGNIZED", Restart),
            RvError::SlotIdInvalid => ("CKR_SLOT_ID_INVALID", Restart),
            RvError::FipsSelfTestFailed => ("CKR_FIPS_SELF_TEST_FAILED", Restart),
            RvError::LibraryLoadFailed => ("CKR_LIBRARY_LOAD_FAILED", Restart),
            RvError::CantLock => ("CKR_CANT_LOCK", Restart),
            RvError::NeedToCreateThreads => ("CKR_NEED_TO_CREATE_THREADS", Restart),

            // No room now.
            RvError::SessionCount => ("CKR_SESSION_COUNT", Busy),
            RvError::HostMemory => ("CKR_HOST_MEMORY", Busy),
            RvError::DeviceMemory => ("CKR_DEVICE_MEMORY", Busy),

            // This request.
            RvError::ArgumentsBad => ("CKR_ARGUMENTS_BAD", Refused),
            RvError::AttributeReadOnly => ("CKR_ATTRIBUTE_READ_ONLY", Refused),
            RvError::AttributeSensitive => ("CKR_ATTRIBUTE_SENSITIVE", Refused),
            RvError::AttributeTypeInvalid => ("CKR_ATTRIBUTE_TYPE_INVALID", Refused),
            RvError::AttributeValueInvalid => ("CKR_ATTRIBUTE_VALUE_INVALID", Refused),
            RvError::ActionProhibited => ("CKR_ACTION_PROHIBITED", Refused),
            RvError::DataInvalid => ("CKR_DATA_INVALID", Refused),
            RvError::DataLenRange => ("CKR_DATA_LEN_RANGE", Refused),
            RvError::EncryptedDataInvalid => ("CKR_ENCRYPTED_DATA_INVALID", Refused),
            RvError::EncryptedDataLenRange => ("CKR_ENCRYPTED_DATA_LEN_RANGE", Refused),
            RvError::FunctionNotSupported => ("CKR_FUNCTION_NOT_SUPPORTED", Refused),
            RvError::CurveNotSupported => ("CKR_CURVE_NOT_SUPPORTED", Refused),
            RvError::KeySizeRange => ("CKR_KEY_SIZE_RANGE", Refused),
            RvError::KeyTypeInconsistent => ("CKR_KEY_TYPE_INCONSISTENT", Refused),
            RvError::KeyNotNeeded => ("CKR_KEY_NOT_NEEDED", Refused),
            RvError::KeyChanged => ("CKR_KEY_CHANGED", Refused),
            RvError::KeyNeeded => ("CKR_KEY_NEEDED", Refused),
            RvError::KeyIndigestible => ("CKR_KEY_INDIGESTIBLE", Refused),
            RvError::KeyFunctionNotPermitted => ("CKR_KEY_FUNCTION_NOT_PERMITTED", Refused),
            RvError::KeyNotWrappable => ("CKR_KEY_NOT_WRAPPABLE", Refused),
            RvError::KeyUnextractable => ("CKR_KEY_UNEXTRACTABLE", Refused),
            RvError::MechanismInvalid => ("CKR_MECHANISM_INVALID", Refused),
            RvError::MechanismParamInvalid => ("CKR_MECHANISM_PARAM_INVALID", Refused),
            RvError::SessionParallelNotSupported => ("CKR_SESSION_PARALLEL_NOT_SUPPORTED", Refused),
            RvError::SignatureInvalid => ("CKR_SIGNATURE_INVALID", Refused),
            RvError::SignatureLenRange => ("CKR_SIGNATURE_LEN_RANGE", Refused),
            RvError::TemplateIncomplete => ("CKR_TEMPLATE_INCOMPLETE", Refused),
            RvError::TemplateInconsistent => ("CKR_TEMPLATE_INCONSISTENT", Refused),
            RvError::TokenWriteProtected => ("CKR_TOKEN_WRITE_PROTECTED", Refused),
            RvError::UnwrappingKeyHandleInvalid => ("CKR_UNWRAPPING_KEY_HANDLE_INVALID", Refused),
            RvError::UnwrappingKeySizeRange => ("CKR_UNWRAPPING_KEY_SIZE_RANGE", Refused),
            RvError::UnwrappingKeyTypeInconsistent => ("CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT", Refused),
            RvError::UserTypeInvalid => ("CKR_USER_TYPE_INVALID", Refused),
            RvError::WrappedKeyInvalid => ("CKR_WRAPPED_KEY_INVALID", Refused),
            RvError::WrappedKeyLenRange => ("CKR_WRAPPED_KEY_LEN_RANGE", Refused),
            RvError::WrappingKeyHandleInvalid => ("CKR_WRAPPING_KEY_HANDLE_INVALID", Refused),
            RvError::WrappingKeySizeRange => ("CKR_WRAPPING_KEY_SIZE_RANGE", Refused),
            RvError::WrappingKeyTypeInconsistent => ("CKR_WRAPPING_KEY_TYPE_INCONSISTENT", Refused),
            RvError::RandomSeedNotSupported => ("CKR_RANDOM_SEED_NOT_SUPPORTED", Refused),
            RvError::DomainParamsInvalid => ("CKR_DOMAIN_PARAMS_INVALID", Refused),
            RvError::BufferTooSmall => ("CKR_BUFFER_TOO_SMALL", Refused),
            RvError::InformationSensitive => ("CKR_INFORMATION_SENSITIVE", Refused),
            RvError::PublicKeyInvalid => ("CKR_PUBLIC_KEY_INVALID", Refused),

            // Of PKCS#11 3.2, which the binding does not know by name yet.
            RvError::UnknownErrorCode(0x208) => ("CKR_TOKEN_NOT_INITIALIZED", Refused),

            // What the standard does not know is treated as a device's error.
            RvError::VendorDefined(code) => {
                return Self::coded("CKR_VENDOR_DEFINED", Device, code);
            }
            RvError::UnknownErrorCode(code) => return Self::coded("CKR_UNKNOWN", Device, code),
        };
        Self::new(name, class)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_never_a_matter_of_another_try() {
        for rv in [
            RvError::PinIncorrect,
            RvError::PinLocked,
            RvError::PinExpired,
            RvError::UserPinNotInitialized,
        ] {
            assert_eq!(ReturnValue::from(rv).class(), Class::Pin, "{rv:?}");
        }
    }

    #[test]
    fn the_measured_classes_hold() {
        let class = |rv| ReturnValue::from(rv).class();
        assert_eq!(class(RvError::SessionHandleInvalid), Class::Session);
        assert_eq!(class(RvError::OperationActive), Class::Session);
        assert_eq!(class(RvError::ObjectHandleInvalid), Class::Login);
        assert_eq!(class(RvError::UserNotLoggedIn), Class::Login);
        assert_eq!(class(RvError::GeneralError), Class::Device);
        assert_eq!(class(RvError::CryptokiNotInitialized), Class::Restart);
        assert_eq!(class(RvError::MechanismInvalid), Class::Refused);
    }

    #[test]
    fn a_vendor_code_keeps_its_number_out_of_the_label() {
        let rv = ReturnValue::from(RvError::VendorDefined(0x8000_0001));
        assert_eq!(rv.name(), "CKR_VENDOR_DEFINED");
        assert_eq!(rv.to_string(), "CKR_VENDOR_DEFINED (0x80000001)");
    }
}
