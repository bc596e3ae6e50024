// The frame of the page goes out at once, the slow part when it is there.

import { connection } from 'next/server';
import { Suspense } from 'react';

async function Slow() {
  await connection();
  await new Promise((resolve) => setTimeout(resolve, 500));
  return <p>slow part</p>;
}

export default function Page() {
  return (
    <main>
      <h1>fast part</h1>
      <Suspense fallback={<p>waiting</p>}>
        <Slow />
      </Suspense>
    </main>
  );
}
