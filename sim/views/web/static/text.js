// Text that came from outside: what a page would obey, and not show, stands in it as an escape.
// The same as the server does for what it renders (`engine.text`).

const forbidden =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f\u2028\u2029\ud800-\udfff]/gu;

export function visible(text) {
  return String(text).replace(forbidden, (sign) => {
    const code = sign.charCodeAt(0).toString(16);
    return code.length < 3 ? `\\x${code.padStart(2, "0")}` : `\\u${code.padStart(4, "0")}`;
  });
}
