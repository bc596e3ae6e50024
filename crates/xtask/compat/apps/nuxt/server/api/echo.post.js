// JSON, and a form with a file.
export default defineEventHandler(async (event) => {
  setResponseStatus(event, 201);
  setCookie(event, 'seen', 'yes', { httpOnly: true });
  if (getRequestHeader(event, 'content-type')?.startsWith('multipart/')) {
    const parts = await readMultipartFormData(event);
    return parts.map(({ name, filename, data }) => ({ name, filename, bytes: data.length }));
  }
  return readBody(event);
});
