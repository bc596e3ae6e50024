import { fail, redirect } from '@sveltejs/kit';

export const actions = {
  default: async ({ request, cookies }) => {
    const form = await request.formData();
    const file = form.get('file');
    if (!file?.size) return fail(422, { error: 'no file' });
    cookies.set('sent', `${form.get('text')} ${file.size}`, { path: '/' });
    redirect(303, '/');
  },
};
