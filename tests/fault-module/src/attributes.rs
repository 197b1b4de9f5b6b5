//! A token that tells other attributes of its keys than they have, or does not tell them.

use std::ptr;

use cryptoki_sys::{
    CK_ATTRIBUTE, CK_OBJECT_CLASS, CK_OBJECT_HANDLE, CK_RV, CK_SESSION_HANDLE, CK_ULONG,
    CK_UNAVAILABLE_INFORMATION, CKA_CLASS, CKR_ATTRIBUTE_TYPE_INVALID, CKR_BUFFER_TOO_SMALL,
    CKR_FUNCTION_NOT_SUPPORTED, CKR_GENERAL_ERROR, CKR_OK,
};

use crate::{
    control::{self, OddAttribute},
    wrapped,
};

/// `C_GetAttributeValue`: what the control file names is told as it says, all else by the real module.
pub(crate) unsafe extern "C" fn get_attribute_value(
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
) -> CK_RV {
    let Some(wrapped) = wrapped() else {
        return CKR_GENERAL_ERROR;
    };
    let Some(real) = wrapped.real.C_GetAttributeValue else {
        return CKR_FUNCTION_NOT_SUPPORTED;
    };
    let mut odd = control::attributes(&wrapped.control);
    if !odd.is_empty() && !template.is_null() {
        let mut class: CK_OBJECT_CLASS = 0;
        let mut asked = CK_ATTRIBUTE {
            type_: CKA_CLASS,
            pValue: (&raw mut class).cast(),
            ulValueLen: size_of::<CK_OBJECT_CLASS>() as CK_ULONG,
        };
        // SAFETY: the real module's function, with one attribute that has room for its value.
        if unsafe { real(session, object, &raw mut asked, 1) } == CKR_OK {
            odd.retain(|odd| odd.class == class);
        }
    }
    if odd.is_empty() || template.is_null() {
        // SAFETY: the real module's function, with the arguments as the caller gave them.
        return unsafe { real(session, object, template, count) };
    }
    // SAFETY: the caller gives so many attributes there.
    let asked = unsafe { std::slice::from_raw_parts_mut(template, count as usize) };
    // Of those the real module only tells a length, as its values may be longer than the room for ours, and of
    // something that every object has, as it may not know ours at all.
    let mut ours: Vec<(usize, CK_ATTRIBUTE, &OddAttribute)> = Vec::new();
    for (at, attribute) in asked.iter_mut().enumerate() {
        if let Some(odd) = odd.iter().find(|odd| odd.kind == attribute.type_) {
            ours.push((at, *attribute, odd));
            attribute.type_ = CKA_CLASS;
            attribute.pValue = ptr::null_mut();
            attribute.ulValueLen = 0;
        }
    }
    // SAFETY: as above.
    let mut answer = unsafe { real(session, object, template, count) };
    for (at, before, odd) in ours {
        if let Some(attribute) = asked.get_mut(at) {
            *attribute = before;
            let told = tell(attribute, odd.value.as_deref());
            if answer == CKR_OK {
                answer = told;
            }
        }
    }
    answer
}

/// Writes a value as a module does: its length, and where there is room the bytes.
fn tell(attribute: &mut CK_ATTRIBUTE, value: Option<&[u8]>) -> CK_RV {
    let Some(value) = value else {
        attribute.ulValueLen = CK_UNAVAILABLE_INFORMATION;
        return CKR_ATTRIBUTE_TYPE_INVALID;
    };
    let length = value.len() as CK_ULONG;
    if !attribute.pValue.is_null() {
        if attribute.ulValueLen < length {
            attribute.ulValueLen = CK_UNAVAILABLE_INFORMATION;
            return CKR_BUFFER_TOO_SMALL;
        }
        // SAFETY: the caller gives room for at least that many bytes there.
        unsafe { ptr::copy_nonoverlapping(value.as_ptr(), attribute.pValue.cast(), value.len()) };
    }
    attribute.ulValueLen = length;
    CKR_OK
}
