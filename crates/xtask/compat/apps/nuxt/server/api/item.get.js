// Asked by the page, inside the process and from a browser.
export default defineEventHandler((event) => {
  const { id } = getQuery(event);
  if (id === 'none') throw createError({ statusCode: 404, statusMessage: 'no such item' });
  return { id, agent: getRequestHeader(event, 'user-agent') ?? 'nobody' };
});
